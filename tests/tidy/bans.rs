//! What must not be written, and where.

use crate::code::{has_word, is_rust, is_source, lines, of};
use crate::{File, Finding, check, hold};

/// Something that only some files may write.
struct Ban {
    words: &'static [&'static str],
    /// Where the ban holds.
    within: &'static [&'static str],
    /// The exceptions in there.
    except: &'static [&'static str],
    why: &'static str,
}

const EVERYWHERE: &[&str] = &["src/"];

const BANS: &[Ban] = &[
    Ban {
        words: &["tokio::spawn", "task::spawn", "spawn_blocking", "thread::spawn", "thread::Builder"],
        within: EVERYWHERE,
        except: &["src/runtime/"],
        why: "only `runtime` spawns",
    },
    Ban {
        words: &["env::var", "env::vars", "env::var_os", "env::vars_os", "env::set_var", "env::args", "use std::env"],
        within: EVERYWHERE,
        except: &["src/agent/config.rs", "src/agent/config/", "src/cli/", "src/main.rs"],
        why: "only `agent::config` and `cli` read the environment",
    },
    Ban {
        words: &["println!", "eprintln!", "print!", "eprint!"],
        within: EVERYWHERE,
        except: &["src/cli/", "src/main.rs"],
        why: "only `cli` talks to people; others trace",
    },
    Ban { words: &["dbg!"], within: EVERYWHERE, except: &[], why: "a left-over" },
    Ban { words: &["unsafe"], within: EVERYWHERE, except: &[], why: "no unsafe code" },
    Ban { words: &["todo!", "unimplemented!"], within: EVERYWHERE, except: &[], why: "what exists, works" },
    Ban {
        words: &["process::exit"],
        within: EVERYWHERE,
        except: &["src/main.rs"],
        why: "a process ends by returning from main, so that everything is dropped",
    },
    Ban {
        words: &["SystemTime", "Instant", "time::now", "SystemRandom", "getrandom", "OsRng", "rand::", "thread_rng"],
        within: &["src/fabric/"],
        except: &[],
        why: "`fabric` is pure: time and randomness are arguments",
    },
    Ban {
        words: &["std::net", "tokio::", "tonic::transport", "hyper"],
        within: &["src/fabric/"],
        except: &[],
        why: "`fabric` is pure: it opens no connection",
    },
    Ban {
        words: &["TcpListener", "TcpStream", "UdpSocket"],
        within: EVERYWHERE,
        except: &["src/client/net.rs", "src/client/net/", "src/devnet/", "src/chaincode/shim", "src/agent/http"],
        why: "only `client::net`, the embedded network and the servers open sockets",
    },
];

fn banned(file: &File) -> Vec<Finding> {
    if !is_source(&file.path) {
        return Vec::new();
    }
    let under = |folders: &[&str]| folders.iter().any(|folder| file.path.starts_with(folder));
    let holding: Vec<_> = BANS.iter().filter(|ban| under(ban.within) && !under(ban.except)).collect();
    let code = of(&file.text);
    let mut found = Vec::new();
    for (number, line) in lines(&code) {
        for ban in &holding {
            if let Some(word) = ban.words.iter().find(|word| has_word(line, word)) {
                found.push((number, format!("`{word}`: {}", ban.why)));
            }
        }
    }
    found
}

/// Marks of work that was left undone, in comments too.
fn left_over(file: &File) -> Vec<Finding> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    if !(is_rust(&file.path) || file.path.ends_with(".toml") || file.path.starts_with(".ci/")) {
        return Vec::new();
    }
    let marked = lines(&file.text).filter_map(|(number, line)| {
        let mark = marks.iter().find(|mark| has_word(line, mark))?;
        Some((number, format!("`{mark}`: do it, or open an issue")))
    });
    marked.collect()
}

/// Tests that nobody runs, without a word why.
fn ignored_silently(file: &File) -> Vec<Finding> {
    if !is_rust(&file.path) {
        return Vec::new();
    }
    let code = crate::code::blank(&file.text);
    let ignored = lines(&code).filter(|(_, line)| line.contains("#[ignore]"));
    ignored.map(|(number, _)| (number, "`#[ignore]` needs a reason".to_owned())).collect()
}

#[test]
fn nothing_banned_is_written() {
    hold(banned);
}

#[test]
fn nothing_is_left_over() {
    hold(left_over);
}

#[test]
fn no_test_is_ignored_silently() {
    hold(ignored_silently);
}

#[test]
fn bans_refuse() {
    let table: &[(&str, &str, &[usize])] = &[
        ("src/client/a.rs", "fn f() {\n    tokio::spawn(g());\n}", &[2]),
        ("src/client/a.rs", "std::thread::spawn(f);", &[1]),
        ("src/runtime/workers.rs", "tokio::spawn(g());", &[]),
        ("src/client/a.rs", "// tokio::spawn\nlet a = \"tokio::spawn\";", &[]),
        ("src/client/a.rs", "#[cfg(test)]\nmod tests {\n    fn f() { println!(); }\n}\nfn g() { println!(); }", &[5]),
        ("src/client/tests.rs", "println!();", &[]),
        ("src/opssc/a.rs", "std::env::var(\"A\")", &[1]),
        ("src/opssc/a.rs", "use std::env;", &[1]),
        ("src/opssc/a.rs", "env!(\"CARGO_PKG_VERSION\")", &[]),
        ("src/agent/config.rs", "std::env::var(\"A\")", &[]),
        ("src/agent/configuration.rs", "std::env::var(\"A\")", &[1]),
        ("src/agent/run.rs", "eprintln!(\"a\")", &[1]),
        ("src/cli/demo.rs", "println!(\"a\")", &[]),
        ("src/cli/demo.rs", "dbg!(1)", &[1]),
        ("src/client/a.rs", "unsafe { f() }", &[1]),
        ("src/client/a.rs", "#![forbid(unsafe_code)]", &[]),
        ("src/client/a.rs", "todo!()\nunimplemented!()", &[1, 2]),
        ("src/cli/a.rs", "std::process::exit(1)", &[1]),
        ("src/fabric/tx/a.rs", "SystemTime::now()\nInstant::now()", &[1, 2]),
        ("src/fabric/tx/a.rs", "use ring::rand::SystemRandom;", &[1]),
        ("src/fabric/tx/a.rs", "tokio::time::sleep(x)", &[1]),
        ("src/client/a.rs", "SystemTime::now()", &[]),
        ("src/client/a.rs", "tokio::net::TcpStream::connect(x)", &[1]),
        ("src/client/net.rs", "tokio::net::TcpStream::connect(x)", &[]),
    ];
    for (path, text, refused) in table {
        check(banned, path, text, refused);
    }
}

#[test]
fn left_overs_are_refused() {
    let text = concat!("// TO", "DO: later\nlet todo = 1;\n/// FIX", "ME\n// XX", "X");
    check(left_over, "src/a.rs", text, &[1, 3, 4]);
    check(left_over, "README.md", text, &[]);
}

#[test]
fn silent_ignores_are_refused() {
    let table: &[(&str, &[usize])] = &[
        ("#[test]\n#[ignore]\nfn f() {}", &[2]),
        ("#[test]\n#[ignore = \"needs a peer\"]\nfn f() {}", &[]),
        ("// #[ignore]", &[]),
    ];
    for (text, refused) in table {
        check(ignored_silently, "tests/a.rs", text, refused);
    }
}
