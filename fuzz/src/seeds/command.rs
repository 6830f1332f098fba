//! Configurations, PROXY headers, and users of other programs.

pub(super) fn add(mut add: impl FnMut(&str, u8, &[u8], usize)) {
    let serve = "\
# a server
listen = \"[::1]:4500\"
key = \"server.pem\"
users = \"users.txt\"
forward = \"localhost:5432\"
handshake-timeout = \"5s\"
max-sessions = 100
puzzles = true
proxy-protocol = [\"10.0.0.0/8\"]
log-format = \"json\"
";
    add("config", 0, serve.as_bytes(), 9);
    add("config-shipped", 0, include_bytes!("../../../contrib/serve.toml"), 3);
    add("config-wrong-value", 0, b"key = \"server.pem\"\nmax-sessions = 0\nusers = 7\n", 0);
    add("config-unknown", 0, b"key = \"server.pem\"\nMax_Sessions = 10\n[table]\na = 1\n", 0);
    add("config-no-toml", 0, b"key = \n", 0);

    add("proxy-4", 1, b"PROXY TCP4 203.0.113.9 192.0.2.2 12345 4500\r\nmore", 1);
    add("proxy-6", 1, b"PROXY TCP6 2001:db8::9 ::1 12345 4500\r\n", 1);
    add("proxy-unknown", 1, b"PROXY UNKNOWN\r\n", 1);
    add("proxy-none", 1, b"\x01\0\x39", 0);
    let version_2 = |command: u8, family: u8, body: &[u8]| {
        let len = [0, u8::try_from(body.len()).unwrap()];
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, body].concat()
    };
    let v4 = [203, 0, 113, 9, 192, 0, 2, 2, 0x30, 0x39, 0x11, 0x94];
    add("proxy-2-4", 1, &version_2(0x21, 0x11, &v4), 1);
    add("proxy-2-6", 1, &version_2(0x21, 0x21, &[&[7; 32][..], &v4[8..]].concat()), 1);
    add("proxy-2-unix", 1, &version_2(0x21, 0x31, &[0; 216]), 1);
    add("proxy-2-extended", 1, &version_2(0x21, 0x11, &[&v4[..], &[4, 0, 2, 0, 0], &[0xe0, 0, 1, 7]].concat()), 1);
    add("proxy-2-local", 1, &version_2(0x20, 0, b""), 1);
    add("proxy-2-cut", 1, &version_2(0x21, 0x11, &v4)[..20], 0);

    let bcrypt = "$2y$05$gMCKYBPCz4giPn5RVBSeyONuSCZaLNN20dLo2FNw/gWMMmlUnwD7m";
    let htpasswd =
        format!("# Apache's\nbob:{bcrypt}\ncarol:$apr1$aaaaaaaa$bbbbbbbbbbbbbbbbbbbbbb\ndave:secret\nbob:{bcrypt}\n");
    add("htpasswd", 2, htpasswd.as_bytes(), 1);
    let csv = format!(
        "name,password_hash,permissions,expires,locked\r\n\
         alice,{bcrypt},\"read, write\",2027-01-31,no\r\n\
         erin,,admin,never,yes\n\
         \"fr\"\"ed\",,,,\n\
         gina,,,tomorrow,\n\
         hal,{bcrypt}\n"
    );
    add("csv", 2, csv.as_bytes(), 2);
    add("csv-update", 3, csv.as_bytes(), 3);
    add("csv-semicolons", 2, "\u{feff}Name;Locked\nbob;yes\ncarol;perhaps\n".as_bytes(), 1);
    add("csv-no-name", 2, b"user,locked\nbob,yes\n", 0);
    add("csv-quote", 2, b"name\n\"bob\n", 0);
}
