//! Flow control, both ways.

use super::*;
use crate::simulator::http2::frame::code;

/// DATA of so many bytes, without END_STREAM.
fn data(stream: u32, length: usize) -> Vec<u8> {
    let mut frame = hex(&format!("{length:06x} 00 00 {stream:08x}"));
    frame.resize(frame.len() + length, b' ');
    frame
}

#[test]
fn windows_open_again_as_bodies_are_read() {
    let mut session = greeted(Options::default());
    receive(&mut session, &headers(1, false));
    session.receive(&data(1, 3)).unwrap();
    session.receive(&data(1, 4)).unwrap();
    expect_out(&mut session, "000004 08 00 00000000 00000007  000004 08 00 00000001 00000007");
    expect_out(&mut session, "");
}

#[test]
fn a_window_that_is_withheld_opens_when_the_option_is_set_again() {
    let options = Options { updates_connection_window: false, updates_stream_windows: false, ..Options::default() };
    let mut session = greeted(options);
    receive(&mut session, &headers(1, false));
    session.receive(&data(1, 5)).unwrap();
    expect_out(&mut session, "");
    session.options().updates_stream_windows = true;
    expect_out(&mut session, "000004 08 00 00000001 00000005");
    session.options().updates_connection_window = true;
    expect_out(&mut session, "000004 08 00 00000000 00000005");
}

#[test]
fn data_beyond_the_connection_window_breaks_the_connection() {
    let options = Options { updates_connection_window: false, initial_window_size: 0x7fff_ffff, ..Options::default() };
    let mut session = greeted(options);
    receive(&mut session, &headers(1, false));
    receive(&mut session, &headers(3, false));
    (0..2).for_each(|_| session.receive(&data(1, 16_384)).unwrap());
    session.receive(&data(3, 16_384)).unwrap();
    session.receive(&data(3, 16_383)).unwrap();
    session.out().clear();
    assert_eq!(session.receive(&data(3, 1)).map_err(|error| error.code), Err(code::FLOW_CONTROL_ERROR));
}

#[test]
fn data_beyond_its_streams_window_breaks_the_connection() {
    let options = Options { initial_window_size: 10, updates_stream_windows: false, ..Options::default() };
    let mut session = greeted(options);
    receive(&mut session, &headers(1, false));
    session.receive(&data(1, 10)).unwrap();
    session.out().clear();
    session.receive(&data(1, 0)).unwrap();
    assert_eq!(session.receive(&data(1, 1)).map_err(|error| error.code), Err(code::FLOW_CONTROL_ERROR));
}

#[test]
fn a_new_initial_window_holds_for_open_streams_from_its_acknowledgement() {
    let mut session = greeted(Options { updates_stream_windows: false, ..Options::default() });
    receive(&mut session, &headers(1, false));
    session.options().initial_window_size = 10;
    session.send_settings();
    session.receive(&data(1, 20)).unwrap();
    receive(&mut session, "000000 04 01 00000000");
    session.options().initial_window_size = 21;
    session.send_settings();
    receive(&mut session, "000000 04 01 00000000");
    session.receive(&data(1, 1)).unwrap();
    assert_eq!(session.receive(&data(1, 1)).map_err(|error| error.code), Err(code::FLOW_CONTROL_ERROR));
}

#[test]
fn an_answer_waits_for_its_streams_window() {
    let mut session = greeted(Options::default());
    receive(&mut session, "000006 04 00 00000000 0004 00000002");
    request(&mut session, 1);
    session.out().clear();
    session.respond(1, Response { body: b"abcdef".to_vec(), ..Response::new(200) });
    expect_out(&mut session, "000005 01 04 00000001 08 03 323030  000002 00 00 00000001 6162");
    receive(&mut session, "000004 08 00 00000001 00000001");
    expect_out(&mut session, "000001 00 00 00000001 63");
    receive(&mut session, "000006 04 00 00000000 0004 00000000");
    expect_out(&mut session, "000000 04 01 00000000");
    receive(&mut session, "000004 08 00 00000001 00000003");
    expect_out(&mut session, "000001 00 00 00000001 64");
    assert_eq!(session.open_streams(), 1);
    receive(&mut session, "000006 04 00 00000000 0004 00000002");
    expect_out(&mut session, "000000 04 01 00000000  000002 00 01 00000001 6566");
    assert_eq!(session.open_streams(), 0);
}

#[test]
fn answers_wait_for_the_connections_window_and_keep_to_the_clients_frame_size() {
    let mut session = greeted(Options::default());
    request(&mut session, 1);
    request(&mut session, 3);
    session.respond(1, Response { body: vec![b'a'; 65_534], ..Response::new(200) });
    let sizes = [5, 16_384, 16_384, 16_384, 16_382];
    assert_eq!(session.out().split().len(), sizes.iter().map(|size| size + 9).sum::<usize>());
    session.respond(3, Response { body: b"bc".to_vec(), ..Response::new(200) });
    expect_out(&mut session, "000005 01 04 00000003 08 03 323030  000001 00 00 00000003 62");
    receive(&mut session, "000004 08 00 00000000 00000009");
    expect_out(&mut session, "000001 00 01 00000003 63");
    assert_eq!(session.open_streams(), 0);
}
