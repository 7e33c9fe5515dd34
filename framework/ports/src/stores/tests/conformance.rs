//! What every store does.

use super::*;
use crate::compute::Inline;
use crate::stores::MemoryStore;
use ntmobile_proto::machine::Record;
use std::collections::BTreeMap;

fn with_each_store(test: impl Fn(&dyn Store)) {
    test(&MemoryStore::new());
    for compute in [Arc::new(Threads) as Arc<dyn Compute>, Arc::new(Inline)] {
        let directory = tempfile::tempdir().expect("a directory");
        let options = SledOptions { reserve: 2 * 1024 * 1024, ..SledOptions::new(directory.path().join("store")) };
        test(&run(SledStore::open(options, compute)).expect("the store opens"));
    }
}

fn load(store: &dyn Store) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let flat = |record: Record| (record.table, record.key.to_vec(), record.value.to_vec());
    run(store.load()).expect("the store can be read").into_iter().map(flat).collect()
}

fn commit(store: &dyn Store, writes: Vec<Write>) {
    run(store.commit(writes)).expect("the store takes it");
}

#[test]
fn a_new_store_is_empty_and_an_empty_batch_changes_nothing() {
    with_each_store(|store| {
        assert!(load(store).is_empty());
        commit(store, Vec::new());
        assert!(load(store).is_empty());
    });
}

#[test]
fn records_come_back_by_table_and_key() {
    with_each_store(|store| {
        let keys: [&[u8]; 4] = [b"\xFF", b"", b"a\0b", b"a"];
        for table in ["b", "ab", "a"] {
            commit(store, keys.iter().map(|key| write(table, key, [table.as_bytes(), key].concat())).collect());
        }
        let mut expected = Vec::new();
        for table in ["a", "ab", "b"] {
            for key in [&b""[..], b"a", b"a\0b", b"\xFF"] {
                expected.push((table.to_owned(), key.to_vec(), [table.as_bytes(), key].concat()));
            }
        }
        assert_eq!(load(store), expected);
    });
}

#[test]
fn the_last_write_of_a_record_counts_also_within_a_batch() {
    with_each_store(|store| {
        commit(store, vec![write("t", "a", "1"), write("t", "a", "2"), write("t", "b", "1"), delete("t", "b")]);
        assert_eq!(load(store), [("t".to_owned(), b"a".to_vec(), b"2".to_vec())]);
        commit(store, vec![delete("t", "a"), delete("t", "never"), write("t", "b", "")]);
        assert_eq!(load(store), [("t".to_owned(), b"b".to_vec(), Vec::new())], "an empty value is one");
    });
}

#[test]
fn batches_take_effect_in_the_order_of_their_commits() {
    with_each_store(|store| {
        let commits = (0..50_u8).map(|n| store.commit(vec![write("t", "same", [n])]));
        let results = run(futures::future::join_all(commits));
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(load(store), [("t".to_owned(), b"same".to_vec(), vec![49])]);
    });
}

#[test]
fn any_sequence_of_batches_ends_as_a_map_would() {
    with_each_store(|store| {
        let mut chance = 0x2545_F491_4F6C_DD1D_u64;
        let mut draw = |below: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % below
        };
        let mut model = BTreeMap::new();
        for _ in 0..60 {
            let mut writes = Vec::new();
            for _ in 0..draw(6) {
                let (table, key) = (["one", "two"][draw(2) as usize], vec![draw(12) as u8; draw(3) as usize]);
                if draw(4) == 0 {
                    model.remove(&(table.to_owned(), key.clone()));
                    writes.push(delete(table, key));
                } else {
                    let value = vec![draw(256) as u8; draw(3_000) as usize];
                    model.insert((table.to_owned(), key.clone()), value.clone());
                    writes.push(write(table, key, value));
                }
            }
            commit(store, writes);
        }
        let expected: Vec<_> = model.into_iter().map(|((table, key), value)| (table, key, value)).collect();
        assert_eq!(load(store), expected);
    });
}

#[test]
fn a_memory_store_can_be_full_and_then_changes_nothing() {
    let store = MemoryStore::with_capacity(100);
    commit(&store, vec![write("t", "a", [1; 60])]);
    let before = load(&store);
    let refused = run(store.commit(vec![delete("t", "a"), write("t", "b", [2; 50]), write("t", "c", [2; 60])]));
    assert_eq!(refused, Err(StoreFailure::Full));
    assert_eq!(load(&store), before);
    commit(&store, vec![delete("t", "a"), write("t", "b", [2; 90])]);
}

#[test]
fn a_restarted_simulated_server_finds_its_records() {
    let store = MemoryStore::new();
    commit(&store, vec![write("t", "a", "1")]);
    assert_eq!(load(&store.clone()).len(), 1);
}
