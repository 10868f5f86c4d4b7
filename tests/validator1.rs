//! The validator1 suite of the XML-RPC world, called by Python's `xmlrpc.client` (`validator1.py`).
//!
//! A small HTTP server answers its methods with the codec of this crate: each call goes through a real client's encoder,
//! our decoder, our encoder and the client's decoder. Needs `python3`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use apnsd::xmlrpc::charset::decode_text;
use apnsd::xmlrpc::decode::{Limits, decode_call};
use apnsd::xmlrpc::encode::{encode_fault, encode_response};
use apnsd::xmlrpc::value::{Fault, Value};

#[test]
fn pythons_client_gets_the_right_answers() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let over = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &over));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validator1.py");
        let output = Command::new("python3").arg(script).arg(format!("http://{address}/")).output();
        over.store(true, Ordering::SeqCst);
        wake(address);
        output
    });
    match output {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "validator1.py: {}", output.status);
        }
        Err(error) => panic!("python3 is needed: {error}"),
    }
}

/// Makes the server look at its flag.
fn wake(address: SocketAddr) {
    if let Err(error) = TcpStream::connect(address) {
        eprintln!("server is gone: {error}");
    }
}

fn serve(listener: &TcpListener, over: &AtomicBool) {
    for connection in listener.incoming() {
        if over.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = connection.and_then(answer_request) {
            eprintln!("connection: {error}");
        }
    }
}

fn answer_request(mut connection: TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let body = read_body(&mut BufReader::new(&mut connection))?;
    let answer = match answer(&body) {
        Ok(answer) => answer,
        Err(text) => encode_fault(&Fault { code: 1, text }),
    };
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{answer}",
        answer.len()
    );
    connection.write_all(response.as_bytes())
}

fn read_body(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn answer(body: &[u8]) -> Result<String, String> {
    let text = decode_text(body, None).map_err(|error| error.to_string())?;
    let call = decode_call(&text, &Limits::default()).map_err(|error| error.to_string())?;
    let result = match (call.name.as_ref(), call.params.as_slice()) {
        ("validator1.arrayOfStructsTest", [Value::Array(structs)]) => sum_of_curlies(structs)?,
        ("validator1.countTheEntities", [Value::String(text)]) => count_entities(text),
        ("validator1.easyStructTest", [stooges]) => Value::Int(sum_of_stooges(stooges)?),
        ("validator1.echoStructTest", [Value::Struct(members)]) => Value::Struct(members.clone()),
        ("validator1.manyTypesTest", params @ [_, _, _, _, _, _]) => Value::Array(params.to_vec()),
        ("validator1.moderateSizeArrayCheck", [Value::Array(strings)]) => ends(strings)?,
        ("validator1.nestedStructTest", [calendar]) => {
            let day = ["2000", "04", "01"].iter().try_fold(calendar, |value, name| member(value, name))?;
            Value::Int(sum_of_stooges(day)?)
        }
        ("validator1.simpleStructReturnTest", [Value::Int(number)]) => Value::Struct(
            [10, 100, 1000].map(|factor| (format!("times{factor}").into(), Value::Int(number * factor))).into(),
        ),
        (name, params) => return Err(format!("no method {name} with {} such parameters", params.len())),
    };
    Ok(encode_response(&result))
}

fn member<'v, 'a>(value: &'v Value<'a>, name: &str) -> Result<&'v Value<'a>, String> {
    let Value::Struct(members) = value else { return Err(format!("{} instead of a struct", value.type_name())) };
    let found = members.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value).ok_or_else(|| format!("no member {name}"))
}

fn int_member(value: &Value<'_>, name: &str) -> Result<i64, String> {
    match member(value, name)? {
        Value::Int(number) => Ok(*number),
        other => Err(format!("{} instead of an int", other.type_name())),
    }
}

fn sum_of_stooges(stooges: &Value<'_>) -> Result<i64, String> {
    ["moe", "larry", "curly"].iter().map(|name| int_member(stooges, name)).sum()
}

fn sum_of_curlies(structs: &[Value<'_>]) -> Result<Value<'static>, String> {
    let sum: Result<i64, String> = structs.iter().map(|stooges| int_member(stooges, "curly")).sum();
    sum.map(Value::Int)
}

fn count_entities(text: &str) -> Value<'static> {
    let counts = [
        ("ctLeftAngleBrackets", '<'),
        ("ctRightAngleBrackets", '>'),
        ("ctAmpersands", '&'),
        ("ctApostrophes", '\''),
        ("ctQuotes", '"'),
    ];
    let count = |character| i64::try_from(text.matches(character).count()).unwrap_or(i64::MAX);
    Value::Struct(counts.map(|(name, character)| (name.into(), Value::Int(count(character)))).into())
}

fn ends(strings: &[Value<'_>]) -> Result<Value<'static>, String> {
    match strings {
        [Value::String(first), .., Value::String(last)] => Ok(Value::string(format!("{first}{last}"))),
        _ => Err("the array does not begin and end with strings".to_owned()),
    }
}
