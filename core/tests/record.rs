//! Recordings of whole worlds: what must not be in them, and that they are replayed to the same decisions.

#[allow(dead_code, reason = "a world can do more than these tests ask of it")]
mod world;

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose};
use world::{World, WorldConfig};
use wse_client_core::{
    client::{
        ConfigUpdate, ConnectionState, Input, NetworkHint, Outgoing, Output, Request, RequestId, SubscribeOptions,
        SyncRequest,
    },
    config::{ClientConfig, Credentials, RecordConfig, TokenTransport},
    delivery::{BatchConfig, RateLimit},
    io::Close,
    record::{FORMAT, Recording, Report, What, replay},
    rng::{Rng, Seed},
    security::SigningConfig,
    time::WallTime,
    wire::{Encoding, Payload},
};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> ClientConfig {
    let mut config = ClientConfig::new("ws://server/wse");
    config.topics = vec!["t".into()];
    config.diagnostics.record = Some(RecordConfig { max_entries: 1 << 20, max_bytes: 1 << 30 });
    config
}

fn file_of(world: &World) -> Vec<u8> {
    world.client.recording().expect("the recorder is on").to_bytes()
}

fn replayed(file: &[u8]) -> Report {
    replay(&Recording::from_bytes(file).expect("our own file")).expect("usable entries")
}

fn assert_same(file: &[u8], context: &str) -> Report {
    let report = replayed(file);
    assert_eq!(report.divergence, None, "{context}");
    assert_eq!(report.unchecked, None, "{context}");
    assert!(report.settings_complete, "{context}: the header lacks a setting");
    report
}

/// Every form in which a secret could have slipped in.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![hex.to_uppercase(), hex];
    forms.push(secret.iter().map(|byte| format!("%{byte:02X}")).collect());
    // In the middle of other base64 the first and last characters depend on the neighbours.
    for shift in 0..3 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(secret);
        for engine in [general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            forms.push(text[4..text.len() - 3].to_owned());
        }
    }
    forms.extend(std::str::from_utf8(secret).map(str::to_owned));
    forms
}

#[test]
fn no_canary_gets_into_a_recording() {
    let token = "canary-token/with+signs=and spaces";
    let payload = "canary-of-the-payload";
    let signing_key = "canary-of-the-signing-key-with-many-bytes";
    let number = 987_654_321_012_345_u64;
    let seed = 0x00c0_ffee_1234_u64;
    for (encryption, encoding) in [(false, Encoding::Text), (true, Encoding::Binary), (true, Encoding::Msgpack)] {
        let mut client = config();
        client.endpoints = vec!["ws://server/wse?key=canary-in-the-query".into()];
        client.credentials = Credentials::Token(token.into());
        client.token_transport = TokenTransport::Query;
        client.security.encryption = encryption;
        client.security.signing = Some(SigningConfig::new(signing_key.into()));
        client.performance.encoding = encoding;
        let mut world = World::new(WorldConfig { client, seed, ..WorldConfig::default() });
        world.connect();
        world.run(SECOND);
        assert_eq!(world.client.state(), ConnectionState::Connected);
        world.publish("t", number);
        let text = Payload::new(payload).expect("text");
        world.client.send(Outgoing::new("secret", text), world.now()).expect("connected");
        world.run(SECOND);
        world.client.set_token(Some("canary-of-the-second-token".into()), world.now());
        world.server_closes(Close::new(4401, "canary-of-the-reason"));
        world.run(30 * SECOND);
        world.client.close(Close::new(1000, "canary-of-the-goodbye"), world.now());

        let file = file_of(&world);
        let text = String::from_utf8(file.clone()).expect("text");
        assert!(text.contains(FORMAT) && text.contains("4401"), "it was recorded at all");
        let mut secrets: Vec<Vec<u8>> = [
            token,
            payload,
            signing_key,
            "canary-in-the-query",
            "canary-of-the-second-token",
            "canary-of-the-reason",
            "canary-of-the-goodbye",
            &number.to_string(),
        ]
        .map(|text| text.as_bytes().to_vec())
        .into();
        secrets.push(seed.to_le_bytes().to_vec());
        // The private key of the first connection is the first secret that is drawn.
        secrets.push(Rng::new(Seed::from_u64(seed)).bytes::<32>().to_vec());
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            assert!(!text.contains(&form), "encryption {encryption}: {form} is in\n{text}");
        }
        assert!(!text.contains("canary"), "{text}");
        assert!(!text.contains("connection-1"), "texts of the server are left out, too");

        let sealed = text.contains(r#""sealed":true,"head":{"t":"subscription_update"}"#);
        assert_eq!(sealed, encryption, "of what is sealed the type is known");
        let report = assert_same(&file, "canaries");
        assert!(report.inputs > 10 && report.decisions > 20, "{report:?}");
    }
}

#[test]
fn forms_of_a_secret_are_found_where_they_are() {
    let secret = b"canary-token";
    for prefix in ["", "a", "ab"] {
        let hidden = general_purpose::STANDARD.encode([prefix.as_bytes(), secret, b"tail"].concat());
        assert!(forms(secret).iter().any(|form| hidden.contains(form)), "{hidden}");
    }
}

#[test]
fn storms_are_replayed_to_the_same_decisions() {
    for seed in 0..20 {
        let mut client = config();
        client.security.encryption = seed % 2 == 0;
        client.performance.encoding = [Encoding::Text, Encoding::Binary, Encoding::Msgpack][seed as usize % 3];
        if seed % 4 == 1 {
            client.endpoints = ["ws://a/wse", "ws://b/wse", "ws://c/wse"].map(str::to_owned).into();
            client.adaptive_quality = true;
        }
        if seed % 5 == 0 {
            client.credentials = Credentials::Provider;
        }
        let history = [None, Some(10_000), Some(3)][seed as usize % 3];
        let mut world = World::new(WorldConfig { client, seed, history, ..WorldConfig::default() });
        world.connect();
        world.storm(Duration::from_secs(120));
        world.subscribe(&["u", "v"]);
        world.pause_reads(true);
        world.run(SECOND);
        world.pause_reads(false);
        world.run(90 * SECOND);
        world.client.rotate_keys(world.now()).ok();
        for request in [Request::Health, Request::Presence { topic: "u".into(), after: None, limit: None }] {
            world.client.request(&request, world.now()).ok();
        }
        world.run(12 * SECOND);
        world.client.reconnect(world.now());
        world.run(SECOND);
        for hint in [NetworkHint::Sleep, NetworkHint::Wake, NetworkHint::Offline, NetworkHint::Online] {
            world.client.handle(Input::Network(hint), world.now());
            world.run(7 * SECOND);
        }
        let report = assert_same(&file_of(&world), &format!("seed {seed}"));
        assert!(report.decisions > 100, "seed {seed}: {report:?}");
    }
}

#[test]
fn settings_of_the_queue_are_in_the_file() {
    let mut client = config();
    client.performance.batch = Some(BatchConfig { size: 3, timeout: SECOND, ..BatchConfig::default() });
    client.performance.rate_limit = Some(RateLimit { capacity: 4, refill: 0.5 });
    client.offline.max_size = 6;
    client.offline.max_age = 9 * SECOND;
    client.timeouts.request = 2 * SECOND;
    let mut world = World::new(WorldConfig { client, ..WorldConfig::default() });
    world.connect();
    for n in 0..8 {
        world.send("order", n);
    }
    world.run(30 * SECOND);
    let file = file_of(&world);
    let text = String::from_utf8(file.clone()).expect("text");
    assert!(text.contains(r#""t":"batch""#) && text.contains("Dropped"), "the settings matter: {text}");
    assert_same(&file, "queue");
    let otherwise = text.replacen(r#""offline_size":6"#, r#""offline_size":7"#, 1);
    assert_ne!(otherwise, text);
    assert!(replayed(otherwise.as_bytes()).divergence.is_some());
}

#[test]
fn refusals_are_replayed() {
    let mut client = config();
    client.limits.max_frame = 4096;
    client.performance.encoding = Encoding::Text;
    let mut world = World::new(WorldConfig { client, deny: vec!["secret".into()], ..WorldConfig::default() });
    world.client.send(Outgoing::new("early", Payload::EMPTY), world.now()).ok();
    world.connect();
    world.run(SECOND);
    world.subscribe(&["secret"]);
    world.client.subscribe(&[""], world.now()).expect_err("no topic");
    world.client.send(Outgoing::new("ping", Payload::EMPTY), world.now()).expect_err("reserved");
    // Does not compress well, and the placeholder must be too large as well.
    let mut noise = [0; 6000];
    Rng::new(Seed::from_u64(3)).fill(&mut noise);
    let text: String = noise.iter().map(|byte| char::from(b'!' + byte % 90)).collect();
    let text = text.replace(['"', '\\'], "-");
    // Neither does this, but its placeholder does: another frame, and the same decision.
    world.client.send(Outgoing::new("fits", Payload::new(&text[..2000]).expect("text")), world.now()).expect("fits");
    world.client.send(Outgoing::new("large", Payload::new(&text).expect("text")), world.now()).expect_err("too large");
    world.run(SECOND);
    let file = file_of(&world);
    assert!(String::from_utf8_lossy(&file).contains("MESSAGE_TOO_LARGE"));
    assert_same(&file, "refusals");
}

/// Every method of a client that changes it, as its source names them.
fn commands_in_the_source() -> BTreeSet<String> {
    let methods = include_str!("../src/client/mod.rs").split("\n    pub fn ").skip(1);
    let changing = methods.filter(|text| text.split(')').next().is_some_and(|head| head.contains("&mut self")));
    changing.filter_map(|text| text.split(['(', '<']).next().map(str::to_owned)).collect()
}

fn telling(presence: impl serde::Serialize) -> SubscribeOptions {
    SubscribeOptions::default().with_presence(&presence).expect("JSON")
}

fn take_part(world: &mut World, options: &SubscribeOptions) {
    let now = world.now();
    world.client.subscribe_with(&["u"], options, now).expect("valid");
}

type Command = Box<dyn FnMut(&mut World)>;

#[test]
fn every_command_is_replayed() {
    let requests = [
        Request::Health,
        Request::Metrics,
        Request::ServerConfig,
        Request::UpdateConfig(ConfigUpdate { batch_size: Some(7), ..ConfigUpdate::default() }),
        Request::Debug,
        Request::Handlers,
        Request::SequenceStats,
        Request::SystemStatus,
        Request::ConnectionState,
        Request::Sync(SyncRequest { topics: vec!["t".into()], ..SyncRequest::default() }),
        Request::Encryption,
    ];
    let mut commands: Vec<(&str, Command)> = vec![
        (
            "set_channel_token",
            Box::new(|world| world.client.set_channel_token("t", Some("canary".into())).expect("ok")),
        ),
        ("set_channel_token", Box::new(|world| assert!(world.client.set_channel_token("", None).is_err(), "no topic"))),
        ("connect", Box::new(World::connect)),
        ("send", Box::new(|world| world.send("note", 1))),
        ("subscribe", Box::new(|world| assert_ne!(world.subscribe(&["u"]), RequestId(0)))),
        ("subscribe_with", Box::new(|world| take_part(world, &SubscribeOptions::default().with_group("g")))),
        ("subscribe_with", Box::new(|world| take_part(world, &telling("canary")))),
        ("subscribe_with", Box::new(|world| take_part(world, &telling(true)))),
        ("subscribe_with", Box::new(|world| take_part(world, &telling(false)))),
        ("unsubscribe", Box::new(|world| world.unsubscribe(&["u"]))),
        (
            "rotate_keys",
            Box::new(|world| {
                assert_eq!(
                    world.client.rotate_keys(world.now()).is_ok(),
                    world.client.server().is_some_and(|info| info.encrypted)
                )
            }),
        ),
        ("set_token", Box::new(|world| world.set_token("canary"))),
        ("handle", Box::new(|world| world.hint(NetworkHint::AddressChanged))),
        ("poll", Box::new(|world| assert!(matches!(world.client.poll(), Output::Wait(_))))),
        ("set_clock", Box::new(|world| world.client.set_clock(WallTime::from_unix_ms(1_800_000_000_000), world.now()))),
        ("reconnect", Box::new(|world| world.client.reconnect(world.now()))),
        ("close", Box::new(|world| world.client.close(Close::normal(), world.now()))),
        ("request", Box::new(|world| assert!(world.client.request(&Request::Health, world.now()).is_err(), "closed"))),
    ];
    let place = commands.iter().position(|(name, _)| *name == "rotate_keys").expect("it is there");
    commands.splice(
        place..place,
        requests.map(|request| {
            let ask: Command = Box::new(move |world| assert_ne!(world.ask(&request), RequestId(0)));
            ("request", ask)
        }),
    );
    let given: BTreeSet<String> = commands.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(given, commands_in_the_source(), "a command is missing here");

    for encryption in [false, true] {
        let mut client = config();
        client.security.encryption = encryption;
        let mut world = World::new(WorldConfig { client, ..WorldConfig::default() });
        for (name, command) in &mut commands {
            command(&mut world);
            world.run(2 * SECOND);
            assert_same(&file_of(&world), &format!("{name}, encryption {encryption}"));
        }
        let text = String::from_utf8(file_of(&world)).expect("text");
        assert!(text.contains(r#""what":"clock""#) && !text.contains("canary"), "{text}");
    }
}

fn stormy_file() -> String {
    let mut world = World::new(WorldConfig { client: config(), seed: 3, ..WorldConfig::default() });
    world.connect();
    world.storm(Duration::from_secs(60));
    String::from_utf8(file_of(&world)).expect("text")
}

#[test]
fn an_altered_file_diverges_where_it_was_altered() {
    let text = stormy_file();
    assert_same(text.as_bytes(), "unaltered");
    let alterations: [(&str, &str); 5] = [
        (r#""what":"closed","socket":1,"code":1012"#, r#""what":"closed","socket":1,"code":4403"#),
        (r#""retry_in_ms":""#, r#""retry_in_ms":"1"#),
        (r#""to":"connected""#, r#""to":"closed""#),
        (r#""name":"Retry""#, r#""name":"Dial""#),
        (r#""t":"server_ready""#, r#""t":"server_read""#),
    ];
    let mut applied = 0;
    for (from, to) in alterations {
        let altered = text.replacen(from, to, 1);
        if altered == text {
            continue;
        }
        applied += 1;
        let divergence = replayed(altered.as_bytes()).divergence.expect(to);
        let line = altered.lines().zip(text.lines()).position(|(one, other)| one != other).expect("altered");
        assert!(divergence.step + 1 >= line, "{to}: step {} before line {line}", divergence.step);
    }
    assert!(applied >= 3, "only {applied} alterations fit the file");
}

#[test]
fn another_seed_of_choices_and_missing_inputs_diverge() {
    let text = stormy_file();
    let at = text.find(r#""choices_seed":""#).expect("header") + 16;
    let mut other = text.clone();
    other.replace_range(at..at + 4, "0000");
    assert!(replayed(other.as_bytes()).divergence.is_some());
    let shorter: Vec<&str> = text.lines().filter(|line| !line.contains(r#""what":"opened""#)).collect();
    assert!(replayed(shorter.join("\n").as_bytes()).divergence.is_some());
}

#[test]
fn a_full_ring_is_told_and_nothing_is_claimed() {
    let mut client = config();
    client.diagnostics.record = Some(RecordConfig { max_entries: 50, ..RecordConfig::default() });
    let mut world = World::new(WorldConfig { client, ..WorldConfig::default() });
    world.connect();
    world.run(SECOND);
    for n in 0..100 {
        world.publish("t", n);
        world.run(SECOND);
    }
    let recording = Recording::from_bytes(&file_of(&world)).expect("our own");
    assert_eq!(recording.entries().len(), 50);
    assert!(recording.truncated() > 0);
    let report = replay(&recording).expect("usable");
    assert_eq!((report.inputs, report.decisions), (0, 0));
    assert!(report.unchecked.expect("told").contains("dropped"));
}

#[test]
fn every_decision_has_a_reason() {
    let text = stormy_file();
    let recording = Recording::from_bytes(text.as_bytes()).expect("our own");
    let mut reasons = BTreeSet::new();
    for (entry, why) in recording.explained() {
        assert_eq!(why.is_some(), entry.what.is_decision(), "{entry:?}");
        reasons.extend(why);
    }
    assert!(reasons.contains("timer Retry: the pause is over"), "{reasons:?}");
    assert!(reasons.contains("message server_ready"), "{reasons:?}");
    let connects = recording.entries().iter().filter(|entry| entry.what == What::Connect).count();
    assert_eq!(connects, 1);
}
