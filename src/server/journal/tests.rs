use signet_model::caller::Caller;
use signet_model::record::CredentialKind;
use signet_model::time::UnixTime;

use super::*;

fn record(n: u8) -> IssuanceRecord {
    IssuanceRecord {
        kind: CredentialKind::JwtSvid,
        id: vec![n; 16],
        subject: "spiffe://example.org/web".into(),
        entry: None,
        key: "kid".into(),
        signed_hash: [n; 32],
        issued_at: UnixTime::from_secs(1),
        not_after: UnixTime::from_secs(u64::from(n)),
        caller: Caller::Anonymous,
    }
}

async fn fill(journal: &Journal, numbers: std::ops::Range<u8>) {
    for n in numbers {
        journal.append(&record(n)).unwrap().durable().await.unwrap();
    }
}

fn waiting(dir: &Path, committed: u64) -> (u64, Vec<u64>) {
    let (segments, waiting) = Segments::open(dir, committed).unwrap();
    (segments.next(), waiting.iter().map(|w| w.not_after_secs).collect())
}

#[tokio::test]
async fn what_was_answered_for_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Journal::open(dir.path(), 0).unwrap(), 1..6).await;
    assert_eq!(waiting(dir.path(), 0), (5, vec![1, 2, 3, 4, 5]));
    assert_eq!(waiting(dir.path(), 3), (5, vec![4, 5]));
}

#[tokio::test]
async fn a_record_cut_at_any_byte_is_dropped_and_the_ones_before_it_stay() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Journal::open(dir.path(), 0).unwrap(), 1..4).await;
    let path = dir.path().join("00000000000000000000.journal");
    let whole = std::fs::read(&path).unwrap();
    let third = whole.len() - whole.len() / 3;
    for cut in third..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(waiting(dir.path(), 0), (2, vec![1, 2]), "cut at {cut}");
    }
}

#[tokio::test]
async fn positions_go_on_behind_what_is_replicated_when_the_journal_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Journal::open(dir.path(), 0).unwrap(), 1..4).await;
    assert_eq!(waiting(dir.path(), 100), (100, vec![]));
    let journal = Journal::open(dir.path(), 100).unwrap();
    fill(&journal, 7..8).await;
    assert_eq!(journal.backlog.lock().first, 100);
}

#[tokio::test]
async fn what_is_replicated_leaves_the_backlog_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), 0).unwrap();
    fill(&journal, 1..6).await;
    journal.backlog.forget(2);
    journal.backlog.forget(1);
    assert_eq!(journal.backlog(), 3);
    journal.backlog.forget(50);
    assert_eq!(journal.backlog(), 0);
    assert_eq!(journal.backlog.lock().first, 5);
}

#[tokio::test]
async fn what_was_not_replicated_goes_on_in_another_nodes_journal_once() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Journal::open(old.path(), 0).unwrap(), 1..6).await;
    let files = |dir: &Path| {
        let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    let before = files(old.path());
    let records = Segments::peek(old.path(), 2).unwrap();
    assert_eq!(carry::copy(&records, new.path()), Ok(3));
    assert_eq!(
        waiting(new.path(), 0),
        (3, vec![3, 4, 5]),
        "from position 0, since nothing of the new node is replicated"
    );
    assert_eq!(files(old.path()), before, "the old journal is as it was");
    assert_eq!(Segments::peek(old.path(), 5).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(Segments::peek(&old.path().join("none"), 0).unwrap(), Vec::<Vec<u8>>::new());
}
