//! The log alone: what counts after a crash, what does not, and what is told as damage.

use std::fs;
use std::path::Path;

use crate::store::codec::Changes;
use crate::store::log::{Log, Mark, NAME};
use crate::store::{StoreError, SyncFile};

const MARK: Mark = Mark { store: 0x5eed_0f57_04e5, epoch: 7 };

fn put(key: &str, len: usize) -> Changes {
    Changes { puts: vec![(key.into(), vec![b'x'; len])], removes: vec![b"gone".to_vec()] }
}

fn open_with(dir: &Path, mark: Mark) -> Result<(Log, Vec<Changes>), StoreError> {
    let mut read = Vec::new();
    let log = Log::open(dir, SyncFile::real(), mark, &mut |changes| read.push(changes))?;
    Ok((log, read))
}

fn open(dir: &Path) -> Result<(Log, Vec<Changes>), StoreError> {
    open_with(dir, MARK)
}

/// A log with one commit of each length.
fn filled(dir: &Path, lengths: &[usize]) -> Log {
    Log::create(dir).unwrap();
    let mut log = open(dir).unwrap().0;
    for len in lengths {
        log.append(&put("key", *len)).unwrap();
    }
    log
}

fn lengths(read: &[Changes]) -> Vec<usize> {
    read.iter().map(|changes| changes.puts[0].1.len()).collect()
}

/// Header, lengths, key and value of a commit of `put("key", len)`.
fn bytes_of(len: usize) -> usize {
    32 + (8 + 3 + len) + (8 + 4)
}

#[test]
fn what_is_committed_is_read_again_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let given = [1, 4_096, 0, 70_000, 4_096 - bytes_of(0), 9];
    drop(filled(dir.path(), &given));
    for _ in 0..2 {
        let (_, read) = open(dir.path()).unwrap();
        assert_eq!(lengths(&read), given);
        assert!(read.iter().all(|changes| changes.removes == [b"gone"]));
    }
}

#[test]
fn a_frame_that_is_torn_at_any_byte_never_counts_and_the_next_takes_its_place() {
    // On one page, and on two.
    for (torn, step) in [(100, 1), (4_200, 41)] {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path(), &[5_000, torn]));
        let path = dir.path().join(NAME);
        let mut whole = fs::read(&path).unwrap();
        whole.truncate(4 * 4_096);
        for at in (8_192..8_192 + bytes_of(torn)).step_by(step) {
            let mut cut = whole.clone();
            cut.truncate(at);
            let mut unwritten = whole.clone();
            unwritten[at..].fill(0);
            // The last byte of a frame may be zero as it was written.
            unwritten[at] = !whole[at];
            let mut garbled = whole.clone();
            garbled[at] ^= 1 << (at % 8);
            for bytes in [cut, unwritten, garbled] {
                fs::write(&path, &bytes).unwrap();
                let (mut log, read) = open(dir.path()).unwrap();
                assert_eq!(lengths(&read), [5_000], "byte {at}");
                if at % 7 == 0 {
                    log.append(&put("key", 3)).unwrap();
                    assert_eq!(lengths(&open(dir.path()).unwrap().1), [5_000, 3], "byte {at}");
                }
            }
        }
    }
}

#[test]
fn damage_before_a_later_frame_is_told_and_nothing_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &[100, 4_200, 30]));
    let path = dir.path().join(NAME);
    let mut whole = fs::read(&path).unwrap();
    whole.truncate(4 * 4_096);
    let second = 4_096;
    let third = second + bytes_of(4_200).next_multiple_of(4_096);
    let along_the_second = (second..second + bytes_of(4_200)).step_by(17);
    for at in (0..bytes_of(100)).chain(along_the_second) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        // Whether the last one is whole does not matter: it was begun.
        damaged[third + bytes_of(30) - 1] ^= u8::from(at % 3 == 0);
        fs::write(&path, &damaged).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Log { .. }), "byte {at}: {error}");
        let index = u64::from(at >= second);
        assert!(error.to_string().contains(&format!("frame {index} cannot be read")), "{error}");
        assert!(error.to_string().contains("make its file log an empty one"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn frames_that_changed_places_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &[10, 20]));
    let path = dir.path().join(NAME);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..8_192].rotate_left(4_096);
    fs::write(&path, &bytes).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("frame 0 cannot be read, but frame 1 follows"), "{error}");
}

#[test]
fn what_a_checkpoint_took_over_never_counts_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), &[5_000, 10, 9_000, 10]);
    let next = Mark { epoch: MARK.epoch + 1, ..MARK };
    log.restart(next);
    assert_eq!(lengths(&open_with(dir.path(), next).unwrap().1), [0; 0]);
    // New frames end where an old one begins, and in the middle of one.
    for written in [vec![4_000], vec![4_000, 20], vec![4_000, 20, 6_000]] {
        log.append(&put("key", written[written.len() - 1])).unwrap();
        assert_eq!(lengths(&open_with(dir.path(), next).unwrap().1), written);
    }
}

#[test]
fn a_log_that_is_not_the_database_s_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &[10, 20]));
    let told = |mark| open_with(dir.path(), mark).unwrap_err().to_string();
    let earlier = Mark { epoch: MARK.epoch - 1, ..MARK };
    assert!(told(earlier).contains("of a later state than the database"));
    let other = Mark { store: MARK.store + 1, ..MARK };
    assert!(told(other).contains("belongs to another store"));
    // A new database does not take it for its own either.
    assert!(matches!(Log::create(dir.path()), Err(StoreError::Foreign { .. })));
    fs::remove_file(dir.path().join(NAME)).unwrap();
    assert!(told(MARK).contains("the file is missing"));
    // As the message says: emptied, it holds nothing and is used.
    fs::write(dir.path().join(NAME), "").unwrap();
    assert_eq!(lengths(&open(dir.path()).unwrap().1), [0; 0]);
}

#[test]
fn the_file_grows_by_large_steps_and_not_at_all_once_it_was_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(dir.path(), &[]);
    let path = dir.path().join(NAME);
    let size = || fs::metadata(&path).unwrap().len();
    let mut sizes = std::collections::BTreeSet::new();
    for epoch in 8..11 {
        for _ in 0..300 {
            log.append(&put("key", 5_000)).unwrap();
            sizes.insert(size());
        }
        log.restart(Mark { epoch, ..MARK });
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [1 << 20, 2 << 20, 3 << 20]);
}
