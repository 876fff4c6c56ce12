use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn protected(&self) -> (PathBuf, PathBuf) {
        let (path, passphrase) = (self.path("kek"), self.write("passphrase", "a long passphrase\n", 0o600));
        create_protected(&path, &passphrase, Cost::FOR_TESTS).unwrap();
        (path, passphrase)
    }
}

fn text<T>(refused: Result<T, KmsError>) -> String {
    match refused {
        Ok(_) => panic!("was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_new_key_file_is_private_random_and_readable() {
    let files = Files::new();
    create_plain(&files.path("one")).unwrap();
    create_plain(&files.path("two")).unwrap();
    assert_eq!(fs::metadata(files.path("one")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_ne!(read_plain(&files.path("one")).unwrap(), read_plain(&files.path("two")).unwrap());
    assert_eq!(fs::read(files.path("one")).unwrap().len(), 45);
}

#[test]
fn a_key_file_may_be_raw_or_base64_with_or_without_a_newline() {
    let files = Files::new();
    let base64 = STANDARD.encode([9; 32]);
    for bytes in [vec![9; 32], base64.clone().into_bytes(), format!("{base64}\n").into_bytes()] {
        let path = files.write("kek", bytes, 0o400);
        assert_eq!(*read_plain(&path).unwrap(), [9; 32]);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn never_overwrites_a_key_file() {
    let files = Files::new();
    let path = files.write("kek", [9; 32], 0o600);
    let error = text(create_plain(&path));
    assert!(error.contains(path.to_str().unwrap()) && error.contains("not overwritten"), "{error}");
    let passphrase = files.write("passphrase", "a long passphrase", 0o600);
    assert!(text(create_protected(&path, &passphrase, Cost::FOR_TESTS)).contains("not overwritten"));
    assert_eq!(*read_plain(&path).unwrap(), [9; 32]);
}

#[test]
fn refuses_a_key_file_that_others_may_read_and_says_chmod() {
    let files = Files::new();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        let path = files.write("kek", [9; 32], mode);
        let error = text(read_plain(&path));
        assert!(error.contains(&format!("chmod 600 {}", path.display())), "{mode:o}: {error}");
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
        fs::remove_file(path).unwrap();
    }
    let (path, passphrase) = files.protected();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(text(read_protected(&path, &passphrase)).contains(&format!("chmod 600 {}", passphrase.display())));
}

#[test]
fn refuses_a_file_that_is_missing_or_no_file() {
    let files = Files::new();
    let missing = files.path("nowhere");
    let error = text(read_plain(&missing));
    assert!(error.contains(missing.to_str().unwrap()) && error.contains("No such file"), "{error}");
    assert!(text(read_plain(files.dir.path())).contains("is not a file"));
    assert!(text(create_plain(&files.path("no/such/kek"))).contains("cannot be created"));
}

#[test]
fn refuses_a_key_file_that_was_cut_off_or_is_something_else() {
    let files = Files::new();
    let base64 = STANDARD.encode([9; 32]);
    for bytes in [&[][..], &[9; 31], &[9; 33], &base64.as_bytes()[..40], b"-----BEGIN PRIVATE KEY-----", &[9; 5000]] {
        let path = files.write("kek", bytes, 0o600);
        let error = text(read_plain(&path));
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_key_under_a_passphrase_comes_back() {
    let files = Files::new();
    let (path, passphrase) = files.protected();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let key = read_protected(&path, &passphrase).unwrap();
    let without_newline = files.write("same", "a long passphrase", 0o600);
    assert_eq!(read_protected(&path, &without_newline).unwrap(), key);
    assert!(!fs::read_to_string(&path).unwrap().contains(&STANDARD.encode(key.as_slice())));
}

#[test]
fn refuses_a_wrong_or_short_passphrase_and_names_its_file() {
    let files = Files::new();
    let (path, _) = files.protected();
    for (wrong, says) in
        [("another passphrase", "holds another passphrase"), ("short", "shorter than 12 bytes"), ("", "shorter")]
    {
        let wrong = files.write("wrong", wrong, 0o600);
        let error = text(read_protected(&path, &wrong));
        assert!(error.contains(wrong.to_str().unwrap()) && error.contains(says), "{error}");
    }
}

#[test]
fn refuses_a_protected_key_file_that_was_cut_off_or_changed() {
    let files = Files::new();
    let (path, passphrase) = files.protected();
    let good = fs::read_to_string(&path).unwrap();
    for cut in 0..good.trim_end().len() {
        let bad = files.write("bad", &good[..cut], 0o600);
        assert!(read_protected(&bad, &passphrase).is_err(), "cut at {cut}");
    }
    for (from, to) in
        [("file 1", "file 2"), ("m=64", "m=65"), ("t=1", "t=2"), ("m=64", "m=99999999"), ("salt ", "salt A")]
    {
        assert!(good.contains(from));
        let bad = files.write("bad", good.replacen(from, to, 1), 0o600);
        assert!(read_protected(&bad, &passphrase).is_err(), "{from} to {to}");
    }
}

#[test]
fn says_when_a_passphrase_is_needed_or_needless() {
    let files = Files::new();
    let (path, passphrase) = files.protected();
    assert!(text(read_plain(&path)).contains("?passphrase_file="));
    let plain = files.write("plain", [9; 32], 0o600);
    assert!(text(read_protected(&plain, &passphrase)).contains("not under a passphrase"));
}
