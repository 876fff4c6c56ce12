use std::path::Path;

use signet_kms::software::generate_key_file;

use super::*;

fn configured(paths: &[&Path]) -> Arc<Backends> {
    let backend = |path: &&Path| {
        let text = format!("file:{}", path.display());
        KeyBackend { uri: text.parse().unwrap(), text }
    };
    let config = KeysConfig {
        backends: paths.iter().map(backend).collect(),
        probe: Duration::from_secs(600),
        verify_every: KeysConfig::DEFAULT_VERIFY_EVERY,
    };
    Backends::new(&config, Calls::new())
}

#[tokio::test]
async fn a_backend_that_is_away_is_told_with_the_reason_and_found_when_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (here, gone) = (folder.path().join("here"), folder.path().join("gone"));
    generate_key_file(&here).unwrap();
    let backends = configured(&[&gone, &here]);
    assert_eq!(backends.states()[0].problem, "it was not reached yet");
    backends.first_look().await;
    let states = backends.states();
    assert!(states[0].problem.contains("gone: cannot be opened") && states[0].recipient.is_none(), "{states:?}");
    assert!(states[1].is_usable() && states[1].recipient.as_ref().unwrap().starts_with("file:"), "{states:?}");
    assert_eq!(backends.opened().count(), 1);
    assert!(backends.notes()[0].contains("gone") && backends.notes().len() == 1, "{:?}", backends.notes());
    backends.any_usable().unwrap();

    generate_key_file(&gone).unwrap();
    let mut changes = backends.watch();
    changes.mark_unchanged();
    backends.first_look().await;
    assert!(changes.has_changed().unwrap() && backends.notes().is_empty());
    assert_eq!(backends.opened().count(), 2);
}

#[tokio::test]
async fn a_key_file_that_went_away_is_not_kept_in_memory_and_its_recipient_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (here, away) = (folder.path().join("kek"), folder.path().join("away"));
    generate_key_file(&here).unwrap();
    let backends = configured(&[&here]);
    backends.first_look().await;
    let recipient = backends.states()[0].recipient.clone().unwrap();
    let opened = backends.of(&recipient).unwrap();
    std::fs::rename(&here, &away).unwrap();
    backends.first_look().await;
    assert_eq!(backends.states()[0].recipient.as_deref(), Some(recipient.as_str()));
    let refusal = backends.of(&recipient).unwrap_err();
    assert!(refusal.detail.contains(&recipient) && refusal.detail.contains("failing"), "{refusal:?}");
    assert!(backends.any_usable().is_err());
    // Whoever is in the middle of something still ends it.
    opened.backend().wrap(b"secret", b"").await.unwrap();
    std::fs::rename(&away, &here).unwrap();
    backends.first_look().await;
    assert_eq!(backends.of(&recipient).unwrap().recipient, recipient);
}

#[tokio::test]
async fn a_day_of_an_idle_cluster_with_its_probes_costs_less_than_a_thousand_calls() {
    use std::io::Write as _;
    let backend = KeyBackend { uri: "memory:".parse().unwrap(), text: "memory:".to_owned() };
    let config = KeysConfig {
        backends: vec![backend],
        probe: KeysConfig::DEFAULT_PROBE,
        verify_every: KeysConfig::DEFAULT_VERIFY_EVERY,
    };
    let backends = Backends::new(&config, Calls::new());
    backends.first_look().await;
    let before = backends.calls.all();
    backends.first_look().await;
    let probe = backends.calls.all() - before;
    let probes = 3 * probe * Duration::from_hours(24).as_secs() / config.probe.as_secs();
    // Each kind once a day: a wrapping, an unwrapping by each node, and for the issuing CA a signature.
    let rotation = 3 + 3 * 3 + 1;
    let day = probes + rotation;
    writeln!(
        std::io::stdout().lock(),
        "KMS calls of an idle cluster of three in a day: {day}, {rotation} of them for rotation"
    )
    .unwrap();
    assert!(probe > 0 && day < 1000, "{day}");
}

#[tokio::test]
async fn another_key_under_the_same_name_is_another_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kek");
    generate_key_file(&path).unwrap();
    let backends = configured(&[&path]);
    backends.first_look().await;
    let first = backends.states()[0].recipient.clone();
    std::fs::remove_file(&path).unwrap();
    generate_key_file(&path).unwrap();
    backends.first_look().await;
    assert_ne!(backends.states()[0].recipient, first);
    assert!(backends.of(&first.unwrap()).is_err());
}
