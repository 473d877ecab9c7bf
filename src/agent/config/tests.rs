//! The settings, as tables.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::from_lookup(|name| {
        pairs.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn defaults_are_the_originals() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.msp_id.as_str(), "Org1MSP");
    assert_eq!(settings.admin_cert, PathBuf::from("/opt/fabric/msp/signcerts"));
    assert_eq!(settings.admin_key, PathBuf::from("/opt/fabric/msp/keystore"));
    assert_eq!(settings.msp_config_path, PathBuf::from("/opt/fabric/msp"));
    assert_eq!(settings.connection_profile, PathBuf::from("/opt/fabric/config/connection-profile.yaml"));
    assert_eq!(settings.checkpoint_dir, PathBuf::from("/opt/opssc/data/checkpoint"));
    assert_eq!(settings.ops_channel.as_str(), "ops-channel");
    assert_eq!(settings.chaincode_ops.as_str(), "chaincode-ops");
    assert_eq!(settings.channel_ops.as_str(), "channel-ops");
    assert_eq!(settings.service_address.to_string(), "0.0.0.0:5500");
    assert_eq!((settings.log_level, settings.log_format), (LogLevel::Info, LogFormat::Text));
    assert_eq!((settings.ws_url, settings.sources.git_user, settings.gopath), (None, None, None));
    assert_eq!(settings.sources.allow, crate::agent::allow::AllowList::default());
    assert_eq!((settings.sources.allowed_signers, settings.sources.build_command), (None, None));
    assert_eq!((settings.sources.git_token_file, settings.sources.k8s_image_file), (None, None));
    assert_eq!(settings.sources.work_dir, PathBuf::from("/opt/opssc/data/checkpoint/work"));
    assert_eq!((settings.sources.limits.bytes, settings.sources.limits.files), (256 << 20, 50_000));
    assert!(!settings.discover_as_localhost);
    assert!(settings.servers.launch_from_agent);
    assert_eq!(settings.servers.start_timeout, Duration::from_mins(10));
    let asset = ChaincodeName::parse("asset").unwrap();
    assert_eq!(settings.servers.address_of(&asset, 3), "chaincode-asset-org1.hyperledger:7052");
}

#[test]
fn empty_values_count_as_none() {
    assert_eq!(
        read(&[("ADMIN_MSPID", ""), ("GIT_USER", ""), ("CC_SERVER_ADDRESS", ""), ("LOG_LEVEL", "")]).unwrap(),
        read(&[]).unwrap()
    );
}

#[test]
fn every_setting_is_taken_over() {
    let settings = read(&[
        ("ADMIN_MSPID", "Org2MSP"),
        ("DISCOVER_AS_LOCALHOST", "TRUE"),
        ("GIT_USER", "alice"),
        ("GIT_PASSWORD", "hunter2"),
        ("WS_ENABLED", "true"),
        ("LOG_LEVEL", "silly"),
        ("LOG_FORMAT", "json"),
        ("AGENT_SERVICE_ADDRESS", "::1"),
        ("AGENT_SERVICE_PORT", "0"),
        ("CC_SERVER_LAUNCH_FROM_AGENT", "false"),
        ("CC_SERVER_REGISTRY", "registry:5000"),
        ("CC_SERVER_HELM_TIMEOUT", "1h30m"),
        ("CC_SERVER_ADDRESS", "cc-{chaincode}-{sequence}:9999"),
        ("ALLOWED_REPOSITORIES", "github.com/example/*, git.example.org/**"),
        ("ALLOWED_SIGNERS", "/keys"),
        ("GIT_MAX_BYTES", "5 MB"),
        ("GIT_TIMEOUT", "30s"),
        ("BUILD_COMMAND", "npm run  build"),
        ("BUILD_TIMEOUT", "1m"),
        ("K8S_IMAGE_FILE", "/images/{chaincode}-{sequence}.json"),
        ("WORK_DIR", "/work-dir"),
    ])
    .unwrap();
    let sources = &settings.sources;
    let repositories = sources.allow.repositories.as_ref().unwrap();
    assert_eq!(repositories.to_string(), "github.com/example/*, git.example.org/**");
    assert_eq!(sources.allowed_signers, Some(PathBuf::from("/keys")));
    assert_eq!((sources.limits.bytes, sources.limits.time), (5_000_000, Duration::from_secs(30)));
    let command = sources.build_command.as_ref().unwrap();
    assert_eq!((command.words.join("|").as_str(), command.limit), ("npm|run|build", Duration::from_mins(1)));
    assert_eq!(sources.k8s_image_file.as_deref(), Some("/images/{chaincode}-{sequence}.json"));
    assert_eq!(sources.work_dir, PathBuf::from("/work-dir"));
    assert_eq!(settings.msp_id.as_str(), "Org2MSP");
    assert!(settings.discover_as_localhost && !settings.servers.launch_from_agent);
    assert_eq!(settings.ws_url.as_deref(), Some("ws://localhost:5000"));
    assert_eq!((settings.log_level, settings.log_format), (LogLevel::Trace, LogFormat::Json));
    assert_eq!(settings.service_address.to_string(), "[::1]:0");
    assert_eq!(settings.servers.pull_registry.as_deref(), Some("registry:5000"));
    assert_eq!(settings.servers.start_timeout, Duration::from_mins(90));
    let asset = ChaincodeName::parse("asset").unwrap();
    assert_eq!(settings.servers.address_of(&asset, 3), "cc-asset-3:9999");
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2"), "the password is shown: {shown}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = read(&[
        ("ADMIN_MSPID", "a b"),
        ("CHANNEL_NAME", "Ops"),
        ("AGENT_SERVICE_PORT", "99999"),
        ("DISCOVER_AS_LOCALHOST", "perhaps"),
        ("CC_SERVER_HELM_TIMEOUT", "soon"),
        ("CC_SERVER_ADDRESS", "{host}:1"),
        ("WS_URL", "http://localhost"),
        ("LOG_LEVEL", "loud"),
        ("CH_OPS_CC_NAME", "chaincode-ops"),
        ("ALLOWED_TYPES", "golang,,java"),
        ("GIT_PASSWORD", "hunter2"),
        ("GIT_TOKEN_FILE", "/token"),
        ("GIT_MAX_BYTES", "much"),
        ("GIT_MAX_FILES", "0"),
        ("BUILD_COMMAND", "  "),
        ("K8S_IMAGE_FILE", "/image.json"),
    ])
    .unwrap_err();
    let mut named: Vec<&str> = error.problems().iter().map(|problem| problem.variable).collect();
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "ADMIN_MSPID",
            "AGENT_SERVICE_PORT",
            "ALLOWED_TYPES",
            "BUILD_COMMAND",
            "CC_SERVER_ADDRESS",
            "CC_SERVER_HELM_TIMEOUT",
            "CHANNEL_NAME",
            "CH_OPS_CC_NAME",
            "DISCOVER_AS_LOCALHOST",
            "GIT_MAX_BYTES",
            "GIT_MAX_FILES",
            "GIT_TOKEN_FILE",
            "K8S_IMAGE_FILE",
            "LOG_LEVEL",
            "WS_URL",
        ]
    );
    let shown = error.to_string();
    assert!(shown.starts_with("the settings have 15 problems:\n"), "{shown}");
    assert!(shown.contains("AGENT_SERVICE_PORT: \"99999\" is not usable"), "{shown}");
    assert!(error.problems().iter().all(|problem| !problem.remedy.is_empty()), "{shown}");
}

#[test]
fn times_are_gos() {
    for (text, seconds) in [("10m", Some(600.0)), ("500ms", Some(0.5)), ("1h1s", Some(3601.0))] {
        assert_eq!(variables::duration(text).ok().map(|time| time.as_secs_f64()), seconds, "for {text}");
    }
    for text in ["", "10", "m", "1d", "0s", "-1s", "99999999999h", "4294967295h9m é"] {
        assert!(variables::duration(text).is_err(), "for {text}");
    }
}

#[test]
fn addresses_of_servers_are_checked() {
    for (template, valid) in [
        ("localhost:7052", true),
        ("cc-{chaincode}-{sequence}.ns:{sequence}", true),
        ("localhost", false),
        ("localhost:0", false),
        (":7052", false),
        ("a b:1", false),
        ("{chaincode:1", false),
        ("http://host:1", false),
    ] {
        assert_eq!(variables::address_template(template).is_ok(), valid, "for {template}");
    }
}

#[test]
fn sizes_are_numbers_of_bytes() {
    for (text, bytes) in [("1", Some(1)), ("200MB", Some(200_000_000)), ("3 KiB", Some(3072)), ("2GiB", Some(2 << 30))]
    {
        assert_eq!(variables::size(text).ok(), bytes, "for {text}");
    }
    for text in ["", "0", "MB", "-1", "1TB", "1.5MB", "99999999999999999999", "99999999999999GB", "1é"] {
        assert!(variables::size(text).is_err(), "for {text}");
    }
}

#[test]
fn settings_are_listed_and_secrets_are_not_shown() {
    let pairs = [
        ("GIT_PASSWORD", "hunter2"),
        ("HTTPS_PROXY", "http://me:hunter2@proxy:1"),
        ("WS_URL", "ws://me:hunter2@host:1/path"),
        ("ADMIN_MSPID", "Org2MSP"),
    ];
    let (settings, found) = Settings::read(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into()));
    settings.unwrap();
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    let of = |name| found.iter().find(|setting| setting.name == name).unwrap();
    assert_eq!(of("WS_URL").value.as_deref(), Some("ws://…@host:1/path"));
    assert_eq!(
        (of("ADMIN_MSPID").value.as_deref(), of("ADMIN_MSPID").default.as_deref()),
        (Some("Org2MSP"), Some("Org1MSP"))
    );
    assert_eq!(
        (of("CHANNEL_NAME").value.as_deref(), of("CHANNEL_NAME").default.as_deref()),
        (None, Some("ops-channel"))
    );
    assert!(of("GIT_PASSWORD").is_secret && of("GIT_PASSWORD").value.is_some());
    let names = Settings::names();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
    assert!(!names.contains(&"HOSTNAME"));
}

#[test]
fn every_setting_is_told_in_the_readme() {
    let readme = include_str!("../../../README.md");
    let missing: Vec<_> = Settings::names()
        .into_iter()
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .filter(|name| !readme.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "the table in the README lacks {missing:?}");
}
