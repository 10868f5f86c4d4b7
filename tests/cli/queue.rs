//! `queue` and `queue purge`.

use crate::shell::{apnsd, array, ask, members, stderr, stdout};
use crate::world::World;

const SINCE: &str = "<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601>";

/// An app as the daemon tells it, with more than the queue.
fn app() -> String {
    let retries = members(&[("ProcessingError", "<int>12</int>")]);
    members(&[
        ("app_id", "myapp"),
        ("gateway", "binary://127.0.0.1:2195"),
        ("state", "connected"),
        ("cause", ""),
        ("waiting", "<int>7</int>"),
        ("in_flight", "<int>3</int>"),
        ("oldest", SINCE),
        ("deferred", "<int>2</int>"),
        ("next_due", SINCE),
        ("accepted", "<int>1000</int>"),
        ("retries", &retries),
    ])
}

#[test]
fn queues_are_a_table_with_ages_and_causes() {
    let (printed, asked) = ask(&["queue"], &array(&[app()]));
    assert!(asked.contains("<methodName>apnsd.apps</methodName>"), "{asked}");
    let (head, row) = printed.split_once('\n').unwrap();
    let head: Vec<&str> = head.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(head, ["APP ID", "WAITING", "IN FLIGHT", "OLDEST", "DEFERRED", "NEXT DUE", "RETRIES", "STATE"]);
    let row: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let [name, waiting, in_flight, oldest, rest @ ..] = &*row else { panic!("{printed}") };
    assert_eq!((*name, *waiting, *in_flight), ("myapp", "7", "3"));
    assert!(oldest.ends_with(" d"), "{oldest}");
    assert_eq!(rest, ["2", "now", "ProcessingError 12", "connected"]);
    assert_eq!(ask(&["queue"], &array(&[])).0, "no apps yet: add one with `apnsd provision`\n");
}

#[test]
fn the_queue_of_one_app_as_json_is_a_list_of_one() {
    let (printed, asked) = ask(&["queue", "myapp", "--json"], &app());
    assert!(asked.contains("<methodName>apnsd.status</methodName><params><param><value><string>myapp<"), "{asked}");
    assert_eq!(
        printed,
        "[\n  {\n    \"app_id\": \"myapp\",\n    \"state\": \"connected\",\n    \"cause\": \"\",\n    \"waiting\": 7,\n    \
         \"in_flight\": 3,\n    \"oldest\": \"2011-03-13T07:06:40Z\",\n    \"deferred\": 2,\n    \
         \"next_due\": \"2011-03-13T07:06:40Z\",\n    \"retries\": {\n      \"ProcessingError\": 12\n    }\n  }\n]\n"
    );
}

#[test]
fn a_purge_says_what_it_did() {
    let rejected = "rejected 7 waiting notifications of myapp; `apnsd rejections myapp` lists them\n";
    for (answer, said) in [
        ("<int>7</int>", rejected),
        ("<int>1</int>", "rejected 1 waiting notification of myapp; `apnsd rejections myapp` lists them\n"),
        ("<int>0</int>", "nothing waited for myapp\n"),
    ] {
        let (printed, asked) = ask(&["queue", "purge", "myapp", "--yes"], answer);
        assert_eq!(printed, said);
        assert!(asked.contains("<methodName>apnsd.purge</methodName><params><param><value><string>myapp<"), "{asked}");
    }
    assert_eq!(ask(&["queue", "purge", "myapp", "--yes", "--json"], "<int>7</int>").0, "7\n");
}

#[test]
fn a_purge_without_a_terminal_wants_to_be_told_twice() {
    // Nobody is called: nobody listens there.
    let output = apnsd(&["queue", "purge", "myapp", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
    assert_eq!(
        stderr(&output),
        "apnsd: what is purged is not sent any more, and there is no terminal to ask: pass --yes\n"
    );
}

#[test]
fn what_waits_is_seen_and_can_be_purged() {
    let world = World::start();
    let certificate = world.certificate();
    world.done(&["provision", "myapp", certificate.to_str().unwrap(), "sandbox-binary"]);
    world.done(&["pause", "myapp"]);
    let [one, two] = ["aa", "bb"].map(|digits| digits.repeat(32));
    world.done(&["notify", "myapp", "--token", &one, "--token", &two, "--alert", "Hello"]);

    let queues: serde_json::Value = serde_json::from_str(&world.done(&["queue", "--json"])).unwrap();
    assert_eq!((&queues[0]["app_id"], &queues[0]["waiting"]), (&"myapp".into(), &2.into()));
    assert!(queues[0]["oldest"].is_string(), "{queues}");
    let rejected = "rejected 2 waiting notifications of myapp; `apnsd rejections myapp` lists them\n";
    assert_eq!(world.done(&["queue", "purge", "myapp", "--yes"]), rejected);
    let rejections = world.done(&["rejections", "myapp"]);
    assert_eq!(rejections.matches("an operator purged the queue while it waited").count(), 2, "{rejections}");
    assert_eq!(world.done(&["queue", "purge", "myapp", "--yes"]), "nothing waited for myapp\n");

    let output = world.run(&["queue", "purge", "nosuch", "--yes"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("The app_id specified has not been provisioned. (fault 404)"), "{output:?}");
}
