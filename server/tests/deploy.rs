//! The files in `deploy/` fit the program.

use std::{process::Command, time::Duration};

use wse_server::settings::{Effective, PREFIX, SETTINGS, Setting, Source, check_variables, parse_file};

fn file(name: &str) -> String {
    let path = format!("{}/../deploy/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All lines of a file of settings, those that are commented out too.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.split(" = ").next().is_some_and(|name| Setting::named(name).is_some()) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn effective(text: &str) -> Effective {
    let keys = parse_file(text).expect("known keys");
    let secret = |setting: &Setting| (setting.name == "jwt_secret").then(|| (Source::Environment, "x".repeat(32)));
    Effective::new(&keys, secret).expect("usable values")
}

#[test]
fn the_file_of_settings_can_be_used() {
    let text = file("wse-server.toml");
    effective(&text).settings.server.check().expect("usable");
    let all = effective(&uncommented(&text));
    assert!(all.source("tls_key") == Source::File && all.source("trusted_proxies") == Source::File);
    all.settings.server.check().expect("usable");
}

#[test]
fn variables_of_unit_and_container_are_settings() {
    for name in ["wse-server.service", "Dockerfile"] {
        let text = file(name);
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
        let words = code.split(|character: char| !(character == '_' || character.is_ascii_alphanumeric()));
        let variables: Vec<_> = words.filter(|word| word.starts_with(PREFIX)).collect();
        assert!(!variables.is_empty(), "{name}");
        check_variables(variables.iter().map(|&word| word.to_owned())).expect("known");
        for variable in variables {
            assert!(
                variable == "WSE_CONFIG" || SETTINGS.iter().any(|setting| setting.variable() == variable),
                "{name}: {variable}"
            );
        }
    }
}

#[test]
fn the_unit_waits_for_the_drain() {
    let unit = file("wse-server.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect("a line");
    let seconds: u64 = value("TimeoutStopSec").parse().expect("seconds");
    let config = effective(&file("wse-server.toml")).settings.server;
    let drain = config.drain_delay + config.drain_window + config.shutdown_timeout;
    assert!(Duration::from_secs(seconds) > drain + Duration::from_secs(5), "{drain:?}");
    let files: usize = value("LimitNOFILE").parse().expect("a number");
    assert!(files > config.max_connections + config.max_handshakes);
    assert!(unit.contains("\nSuccessExitStatus=3\n"));
    let sections: Vec<_> = unit.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(sections, ["[Unit]", "[Service]", "[Install]"]);
    // A line is a comment, a section, or an assignment.
    let fine = |line: &str| line.is_empty() || line.starts_with(['#', '[']) || line.split_once('=').is_some();
    assert!(unit.lines().all(fine));
}

#[test]
fn systemd_can_read_the_unit() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        return eprintln!("no systemd-analyze here: not checked");
    };
    assert!(version.status.success());
    let folder = std::env::temp_dir().join(format!("wse-unit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("created");
    let path = folder.join("wse-server.service");
    let unit = file("wse-server.service").replace("/usr/local/bin/wse-server", env!("CARGO_BIN_EXE_wse-server"));
    std::fs::write(&path, unit).expect("written");
    let checked = Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    let about_us: Vec<_> = said.lines().filter(|line| line.contains("wse-server")).collect();
    assert!(about_us.is_empty(), "{about_us:?}");
    std::fs::remove_dir_all(folder).expect("removed");
}

/// The documentation has every setting, as the table of settings has it.
#[test]
fn the_documentation_has_every_setting() {
    const BEGIN: &str = "writes this table -->\n";
    const END: &str = "<!-- /settings -->";
    let path = format!("{}/../docs/operations.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the page");
    let (head, rest) = text.split_once(BEGIN).expect("a beginning");
    let (present, tail) = rest.split_once(END).expect("an end");
    let mut table = String::from("| setting | default | what it does |\n| --- | --- | --- |\n");
    for Setting { name, help, .. } in SETTINGS {
        let setting = Setting::named(name).expect("a setting");
        let default = setting.show(&Default::default()).filter(|value| value != "[]");
        let default = default.map_or_else(String::new, |value| format!("`{}`", value.trim_matches('"')));
        table += &format!("| `{name}` | {default} | {} |\n", help.replace('|', "\\|"));
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{table}{END}{tail}")).expect("written");
    } else {
        assert_eq!(present, table, "BLESS=1 cargo test -p wse-server --test deploy writes it");
    }
}
