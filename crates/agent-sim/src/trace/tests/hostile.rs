//! Whatever bytes come, a reader gives a trace that makes sense or an error: it never panics.

use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// The samples, unpacked and cut, so that a case is quick.
static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(samples);

fn samples() -> Vec<Vec<u8>> {
    const MOST: usize = 2_000;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traces");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension != "md"))
        .map(|path| {
            let bytes = fs::read(path).unwrap();
            let mut plain = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
            } else {
                plain = bytes;
            }
            plain.truncate(MOST);
            plain
        })
        .collect()
}

/// What stands where something else stood.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..6),
        prop::sample::select(vec![
            "-1",
            "nan",
            "inf",
            "1e308",
            "1e-308",
            "18446744073709551616",
            "4294967295",
            "\"",
            "\"\"",
            ",",
            "\n",
            "\r",
            "\r\n",
            "{",
            "}",
            "[",
            "]",
            "[[",
            "é",
            "\u{feff}",
            "\0",
            "9999999999",
            "1970-01-01 00:00:00",
            "-9999-01-01 00:00:00Z",
            "0001-01-01 00:00:00",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

/// Reads as every format; what is read keeps what `Trace` promises.
fn check(bytes: &[u8]) {
    for format in Format::ALL.into_iter().map(Some).chain([None]) {
        match Trace::read("t", bytes, format) {
            Ok(trace) => {
                assert!(trace.requests.is_sorted_by_key(|request| request.at_ns));
                assert!(trace.requests.first().is_some_and(|request| request.at_ns == 0));
                assert!(trace.requests.iter().all(|request| request.cached <= request.input));
                let turns: usize = trace.sessions().values().map(Vec::len).sum();
                assert!(turns <= trace.requests.len());
                let replay = Replay { speed: 1e-3, scale: 1e3, ..Replay::default() };
                assert!(replay.apply(trace).is_ok());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_a_trace_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        check(&bytes);
    }

    #[test]
    fn a_mutated_sample_is_a_trace_or_an_error(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..6, fragment()), 1..8),
    ) {
        let mut bytes = which.get(&SAMPLES).clone();
        for (at, removed, put) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, put);
        }
        check(&bytes);
    }

    #[test]
    fn a_mutated_gzip_stream_is_a_trace_or_an_error(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = packed(&*SAMPLES[0]);
        for (at, put) in changes {
            let at = at.index(bytes.len());
            bytes[at] = put;
        }
        check(&bytes);
    }
}
