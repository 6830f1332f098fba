//! Passwords that clients stretch: set, moved to, shown, and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::{House, Said, Server, run};

const PASSWORD: &str = "secret of alice";
const CHEAP: [&str; 2] = ["--stretch-parameters", "m=7168,t=5,p=1"];

fn user(house: &House, args: &[&str], stdin: &str) -> Said {
    run(&[&["user"], args, &["--users", &house.path("users.txt")]].concat(), stdin)
}

fn serve(house: &House, more: &[&str]) -> Server {
    house.serve(&[&["--stretch", "--stretch-realm", "db.example"], &CHEAP[..], more].concat())
}

fn login(server: &Server, house: &House, password: &str, more: &[&str]) -> Said {
    let who = ["--user", "alice", "--password-stdin", "--no-resume", "--pin", &house.pin()];
    server.login_with(&[&who[..], more].concat(), &["--send", "whoami"], &format!("{password}\n"))
}

#[test]
fn accounts_move_at_their_next_login_and_stay_moved() {
    let house = House::new();
    {
        let server = serve(&house, &[]);
        login(&server, &house, PASSWORD, &[]).fails(1, &["refused"]);
        assert!(house.read("users.txt").contains(" password=$argon2id$"));
    }
    {
        let server = serve(&house, &["--stretch-moving"]);
        login(&server, &house, "something else", &[]).fails(1, &["refused"]);
        login(&server, &house, PASSWORD, &["--stretched-only"]).fails(1, &["refused"]);
        assert!(house.read("users.txt").contains(" password=$argon2id$"));
        // As long as another server may not know what it would move to.
        login(&serve(&house, &["--stretch-moving", "--no-password-upgrade"]), &house, PASSWORD, &[]).ok();
        assert!(house.read("users.txt").contains(" password=$argon2id$"));
        login(&server, &house, PASSWORD, &[]).ok();
        let line = house.read("users.txt");
        assert!(line.contains(";m=7168,t=5,p=1;realm=db.example") && !line.contains("password="), "{line}");
    }
    let server = serve(&house, &[]);
    login(&server, &house, PASSWORD, &["--stretched-only", "--realm", "db.example"]).ok();
    login(&server, &house, "something else", &[]).fails(1, &["refused"]);
    login(&server, &house, PASSWORD, &["--realm", "bank.example"]).fails(3, &["db.example", "nothing secret was sent"]);
    drop(server);
    {
        // Those that come first are the ones to move to.
        let stronger = ["--stretch", "--stretch-realm", "db.example", "--stretch-parameters", "m=8192,t=5,p=1"];
        let server = house.serve(&[&stronger[..], &CHEAP, &["--no-password-upgrade"]].concat());
        login(&server, &house, PASSWORD, &[]).ok();
        assert!(house.read("users.txt").contains("m=7168"));
        let server = house.serve(&[&stronger[..], &CHEAP].concat());
        login(&server, &house, PASSWORD, &[]).ok();
        let line = house.read("users.txt");
        assert!(line.contains(";m=8192,t=5,p=1;realm=db.example") && !line.contains("m=7168"), "{line}");
        let server = house.serve(&stronger);
        login(&server, &house, PASSWORD, &[]).ok();
    }
    // Without stretching it is no password.
    let plain = house.serve(&[]);
    login(&plain, &house, PASSWORD, &[]).fails(1, &["refused"]);
    login(&plain, &house, PASSWORD, &["--stretched-only"]).fails(6, &["nothing secret was sent", "--stretched-only"]);
}

#[test]
fn a_password_is_set_stretched_and_stays_so_until_it_is_to_be_another() {
    let house = House::new();
    let own = [&["--stretch-realm", "db.example", "--password-stdin"][..], &CHEAP].concat();
    let said = user(&house, &[&["passwd", "alice"], &own[..]].concat(), "another secret\n").ok();
    assert!(said.err.contains("stretched for db.example at m=7168,t=5,p=1"), "{said:?}");
    let shown = user(&house, &["show", "alice"], "").ok().out;
    assert!(shown.contains("yes, stretched for db.example at m=7168,t=5,p=1"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&user(&house, &["show", "alice", "--json"], "").ok().out).unwrap();
    assert_eq!((&json["password"], &json["stretched"]["realm"]), (&true.into(), &"db.example".into()));
    {
        let server = serve(&house, &[]);
        login(&server, &house, "another secret", &[]).ok();
        user(&house, &["passwd", "alice", "--password-stdin"], "a third secret\n").ok();
        assert!(house.read("users.txt").contains(";realm=db.example"), "as it was kept before");
    }
    let server = serve(&house, &[]);
    login(&server, &house, "a third secret", &[]).ok();
    login(&server, &house, "another secret", &[]).fails(1, &["refused"]);
    user(&house, &["passwd", "alice", "--password-stdin", "--no-stretch"], "a fourth secret\n").ok();
    assert!(!house.read("users.txt").contains("stretched="));
    // By the name at which it is added, it is another account's.
    user(&house, &[&["add", "bob"], &own[..]].concat(), "a third secret\n").ok();
    assert_eq!(house.read("users.txt").matches(" stretched=SHA256:").count(), 1);
}

#[test]
fn what_makes_no_sense_is_said_before_anything_is_done() {
    let house = House::new();
    let serve = |more: &[&str]| {
        let (key, users) = (house.path("server.pem"), house.path("users.txt"));
        let args = ["serve", "--listen", "127.0.0.1:0", "--key", &key, "--users", &users];
        run(&[&args[..], more].concat(), "")
    };
    serve(&["--stretch"]).fails(2, &["--stretch-realm", "--server-name"]);
    serve(&["--stretch", "--stretch-realm", "db example"]).fails(2, &["the realm"]);
    serve(&["--stretch-moving"]).fails(2, &["--stretch"]);
    let stretch = ["--stretch", "--stretch-realm", "db.example", "--stretch-parameters"];
    serve(&[&stretch[..], &["m=6144,t=10,p=1"]].concat()).fails(2, &["too weak"]);
    serve(&[&stretch[..], &["m=262144,t=5,p=1"]].concat()).fails(2, &["too much"]);
    serve(&[&stretch[..], &["m=7000,t=5,p=1"]].concat()).fails(2, &["multiple of 1024"]);
    let before = house.read("users.txt");
    user(&house, &["passwd", "alice", "--stretch-realm", "", "--password-stdin"], "another secret\n")
        .fails(2, &["realm"]);
    assert_eq!(house.read("users.txt"), before);
}

#[test]
fn passwords_that_are_no_good_are_told_of_before_anybody_logs_in() {
    let house = House::new();
    let check = |lines: &str| {
        let (key, users) = (house.path("server.pem"), house.path("users.txt"));
        let text = format!("listen = \"127.0.0.1:0\"\nkey = {key:?}\nusers = {users:?}\n{lines}");
        run(&["check-config", &house.write("serve.toml", text.as_bytes(), 0o644)], "").ok().err
    };
    let stretch = "stretch = true\nstretch-realm = \"db.example\"\nstretch-parameters = [\"m=7168,t=5,p=1\"]\n";
    let moving = format!("{stretch}stretch-moving = true\n");
    let said = check(stretch);
    assert!(
        said.contains("warning: 1 account with a password that is not stretched") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(check(""), "");
    let said = check(&moving);
    assert!(
        said.contains("note: 1 account with a password that is not stretched yet") && said.lines().count() == 1,
        "{said}"
    );
    let other = [&["passwd", "alice", "--password-stdin", "--stretch-realm", "bank.example"][..], &CHEAP].concat();
    user(&house, &other, "another secret\n").ok();
    for lines in [stretch, &moving] {
        let said = check(lines);
        assert!(said.contains("warning: 1 account with a password that is stretched for another realm"), "{said}");
    }
    let said = check("");
    assert!(
        said.contains("warning: 1 account with a password that is stretched, which is no good without --stretch"),
        "{said}"
    );
    let newest = [&["passwd", "alice", "--password-stdin", "--stretch-realm", "db.example"][..], &CHEAP].concat();
    user(&house, &newest, "another secret\n").ok();
    assert_eq!((check(stretch), check(&moving)), (String::new(), String::new()));
    let raised = stretch.replace("[\"m=7168", "[\"m=8192,t=5,p=1\", \"m=7168");
    let said = check(&raised);
    assert!(said.contains("note: 1 account with a password that is stretched at the older parameters"), "{said}");
}
