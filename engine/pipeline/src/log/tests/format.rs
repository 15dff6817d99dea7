use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn inputs() -> impl Strategy<Value = Vec<Owned>> {
    let kinds: Vec<InputKind> = (0..=u8::MAX).filter_map(InputKind::from_u8).collect();
    let one = (
        prop::sample::select(kinds),
        any::<(i64, i64, i64, u16, u16, u32)>(),
        prop::collection::vec(any::<u8>(), 0..300),
    );
    (0..u64::MAX / 2, prop::collection::vec(one, 1..40)).prop_map(|(first, parts)| {
        let numbered = parts.into_iter().zip(first..);
        numbered
            .map(|((kind, (recv, kernel, ts_aux, symbol, connection, aux), bytes), input_seq)| {
                Owned {
                    stamp: Stamp {
                        input_seq,
                        ts_recv: Nanos(recv),
                        ts_kernel: Nanos(kernel),
                        ts_parsed: Nanos::UNDEF,
                    },
                    kind,
                    symbol: SymbolIndex(symbol),
                    connection,
                    aux,
                    ts_aux: Nanos(ts_aux),
                    bytes,
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_plain_and_compressed(inputs in inputs()) {
        let dir = TempDir::new().unwrap();
        let header = LogHeader { first_input_seq: inputs[0].stamp.input_seq, ..super::header(0) };
        let path = write(dir.path(), &header, &LogStart::Initial, &inputs);
        prop_assert_eq!(&read_whole(&[&path]), &inputs);
        let bytes = fs::read(&path).unwrap();
        let zst = path.with_extension("cblog.zst");
        fs::write(&zst, zstd::bulk::compress(&bytes, 1).unwrap()).unwrap();
        prop_assert_eq!(&read_whole(&[&zst]), &inputs);
        let gz = path.with_extension("cblog.gz");
        let target = fs::File::create(&gz).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(target, flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap();
        prop_assert_eq!(&read_whole(&[&gz]), &inputs);
        prop_assert_eq!(log_files(dir.path()).unwrap(), std::slice::from_ref(&path));
        prop_assert!(is_log_file(&path).unwrap());
        fs::remove_file(&path).unwrap();
        // One that was compressed since it was listed is found all the same.
        prop_assert_eq!(&read_whole(&[&path]), &inputs);
        fs::remove_file(&gz).unwrap();
        prop_assert_eq!(log_files(dir.path()).unwrap(), [zst]);
    }

    #[test]
    fn a_flipped_bit_is_found(inputs in inputs(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let dir = TempDir::new().unwrap();
        let header = LogHeader { first_input_seq: inputs[0].stamp.input_seq, ..super::header(0) };
        let path = write(dir.path(), &header, &LogStart::Taken(checkpoint(7)), &inputs);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        let Ok(mut reader) = LogReader::open(&[&path]) else { return Ok(()) };
        let (read, error) = read_all(&mut reader);
        prop_assert!(read.len() < inputs.len(), "bit {} of byte {} was not missed", bit, at);
        prop_assert_eq!(&read[..], &inputs[..read.len()]);
        let last = read.len() + 1 == inputs.len();
        match error {
            None => prop_assert!(last && reader.torn().len() == 1),
            Some(error) => prop_assert!(!last && matches!(error, LogError::Corrupt { .. }), "{error}"),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        keep in 0..400_usize,
    ) {
        let dir = TempDir::new().unwrap();
        let path = write(dir.path(), &header(0), &LogStart::Taken(checkpoint(7)), &[Owned::text(0)]);
        let mut file = fs::read(&path).unwrap();
        file.truncate(keep);
        file.extend_from_slice(&bytes);
        fs::write(&path, file).unwrap();
        if let Ok(mut reader) = LogReader::open(&[&path]) {
            read_all(&mut reader);
        }
    }
}

#[test]
fn a_log_cut_at_any_byte_is_readable_up_to_the_cut() {
    let dir = TempDir::new().unwrap();
    let inputs: Vec<Owned> = (5..25).map(Owned::text).collect();
    let path = write(dir.path(), &header(5), &LogStart::Taken(checkpoint(4)), &inputs);
    let bytes = fs::read(&path).unwrap();
    let ends: Vec<usize> = inputs
        .iter()
        .rev()
        .scan(bytes.len(), |end, input| {
            let this = *end;
            *end -= (56 + input.bytes.len()).next_multiple_of(8);
            Some(this)
        })
        .collect();
    let records_at = ends.last().unwrap()
        - 56_usize.next_multiple_of(8)
        - inputs[0].bytes.len().next_multiple_of(8);
    for compressed in [false, true] {
        for cut in 0..bytes.len() {
            let mut part = bytes[..cut].to_vec();
            if compressed {
                if cut % 7 != 0 {
                    continue;
                }
                part = zstd::bulk::compress(&part, 1).unwrap();
            }
            fs::write(&path, part).unwrap();
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            match LogReader::open(&[&path]) {
                Err(error) => {
                    assert!(cut < records_at, "{cut}: {error}");
                    let sentence =
                        format!("{}: ends after {cut} bytes, inside its ", path.display());
                    assert!(error.to_string().starts_with(&sentence), "{error}");
                }
                Ok(mut reader) => {
                    assert!(cut >= records_at);
                    let (read, error) = read_all(&mut reader);
                    assert!(error.is_none(), "{cut}: {error:?}");
                    assert_eq!(read, inputs[..whole]);
                    assert!(reader.next().unwrap().is_none(), "the end stays the end");
                    let clean = cut == records_at || ends.contains(&cut);
                    assert_eq!(reader.torn().len(), usize::from(!clean), "{cut}");
                }
            }
        }
    }
}

#[test]
fn a_cut_compressed_log_is_readable_up_to_the_cut() {
    let dir = TempDir::new().unwrap();
    let inputs: Vec<Owned> = (0..20_000).map(Owned::text).collect();
    let path = write(dir.path(), &header(0), &LogStart::Initial, &inputs);
    let packed = zstd::bulk::compress(&fs::read(&path).unwrap(), 1).unwrap();
    fs::write(&path, &packed[..packed.len() * 2 / 3]).unwrap();
    let mut reader = LogReader::open(&[&path]).unwrap();
    let (read, error) = read_all(&mut reader);
    assert!(error.is_none(), "{error:?}");
    assert!(read.len() > 1_000 && read == inputs[..read.len()], "{}", read.len());
    assert_eq!(reader.torn().len(), 1);
}

#[test]
fn blocks_that_a_crash_left_unwritten_are_a_torn_tail() {
    let dir = TempDir::new().unwrap();
    let inputs = [Owned::text(0), Owned::text(1)];
    let path = write(dir.path(), &header(0), &LogStart::Initial, &inputs);
    let mut bytes = fs::read(&path).unwrap();
    let size = bytes.len();
    bytes.resize(size + 4096, 0);
    fs::write(&path, bytes).unwrap();
    let mut reader = LogReader::open(&[&path]).unwrap();
    assert_eq!(read_all(&mut reader).0, inputs);
    let torn = Torn { path, offset: size as u64, reason: "its kind is 0" };
    assert_eq!(reader.torn(), [torn]);
}

#[test]
fn damage_in_the_middle_names_where_good_records_go_on() {
    let dir = TempDir::new().unwrap();
    let path = write(
        dir.path(),
        &header(0),
        &LogStart::Initial,
        &[Owned::text(0), Owned::text(1), Owned::text(2)],
    );
    let mut bytes = fs::read(&path).unwrap();
    let second_at = bytes.len() - 56 - 16 - 56 - 8;
    bytes[second_at + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut reader = LogReader::open(&[&path]).unwrap();
    let (read, error) = read_all(&mut reader);
    assert_eq!(read, [Owned::text(0)]);
    let wanted = format!(
        "{}: the record at offset {second_at} is damaged (its checksum does not match): wanted input 1; good records \
         go on at offset {}",
        path.display(),
        second_at + 64
    );
    assert_eq!(error.unwrap().to_string(), wanted);
}

#[test]
fn the_header_and_the_checkpoint_come_back() {
    let dir = TempDir::new().unwrap();
    for (index, start) in [LogStart::Initial, LogStart::Missing, LogStart::Taken(checkpoint(99))]
        .into_iter()
        .enumerate()
    {
        let header = header(100 + index as u64);
        let path = write(dir.path(), &header, &start, &[]);
        let reader = LogReader::open(&[&path]).unwrap();
        assert_eq!((reader.header(), reader.start()), (&header, &start));
        assert_eq!(reader.path(), path);
        let taken = index == 2;
        assert_eq!(reader.checkpoint(), taken.then_some(&b"state after 99"[..]));
        assert_eq!(reader.checkpoint_blob("BTCUSDT/ticks"), taken.then_some(&[2; 5_000][..]));
        assert_eq!(reader.checkpoint_blob("ETHUSDT/ticks"), None);
    }
}

#[test]
fn names_sort_by_time_and_modes_are_tight() {
    let dir = TempDir::new().unwrap();
    let below = dir.path().join("logs/binance");
    let path = write(&below, &header(17), &LogStart::Initial, &[]);
    let wanted = "20240808T235413.937085785Z_00000000000000000042_00000000000000000017.cblog";
    assert_eq!(path, below.join(wanted));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path) & !0o640, 0);
    assert_eq!(mode(&below) & !0o750, 0);
    let error = LogFile::create(&below, &header(17), &LogStart::Initial).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: exists already: a log is never overwritten", path.display())
    );
    assert_eq!(log_files(&below).unwrap(), [path]);
    assert_eq!(fs::read_dir(&below).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn foreign_files_and_versions_are_refused_in_one_sentence() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), &header(0), &LogStart::Initial, &[]);
    let good = fs::read(&path).unwrap();
    let check = |bytes: &[u8], wanted: &str| {
        fs::write(&path, bytes).unwrap();
        let error = LogReader::open(&[&path]).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {wanted}", path.display()));
    };
    let magic = "wanted [43, 42, 4c, 4f, 47, 0d, 0a, 1a]";
    check(
        b"123 {\"a\":1}\n",
        &format!("is no cobring log: begins with [31, 32, 33, 20, 7b, 22, 61, 22], {magic}"),
    );
    check(b"123", &format!("is no cobring log: begins with [31, 32, 33], {magic}"));
    check(b"", "ends after 0 bytes, inside its header");
    check(&good[..50], "ends after 50 bytes, inside its header");
    let mut other = good.clone();
    other[8] = 2;
    check(&other, "has log version 2, wanted 1");
    other = good.clone();
    other[40] ^= 1;
    let (found, wanted) = (
        u32_of(&checksum_error(&path, &other, "found ")),
        u32_of(&checksum_error(&path, &other, "wanted ")),
    );
    check(&other, &format!("its header is damaged: found checksum {found}, wanted {wanted}"));
    assert!(matches!(LogReader::open::<&Path>(&[]), Err(LogError::NoFiles)));
    let error = LogReader::open(&[dir.path().join("none")]).unwrap_err().to_string();
    assert!(error.contains("none: cannot be read: "), "{error}");
}

fn checksum_error(path: &Path, bytes: &[u8], before: &str) -> String {
    fs::write(path, bytes).unwrap();
    let error = LogReader::open(&[path]).unwrap_err().to_string();
    error.split_once(before).unwrap().1.to_owned()
}

fn u32_of(text: &str) -> String {
    let start = text.find("0x").unwrap();
    text[start..start + 10].to_owned()
}

fn two_files(dir: &Path) -> [PathBuf; 2] {
    let first: Vec<Owned> = (0..5).map(Owned::text).collect();
    let second: Vec<Owned> = (5..9).map(Owned::text).collect();
    let a = write(dir, &header(0), &LogStart::Initial, &first);
    let b = write(dir, &header(5), &LogStart::Taken(checkpoint(4)), &second);
    [a, b]
}

#[test]
fn files_of_one_run_read_as_one_in_any_order() {
    let dir = TempDir::new().unwrap();
    let [a, b] = two_files(dir.path());
    let wanted: Vec<Owned> = (0..9).map(Owned::text).collect();
    assert_eq!(read_whole(&[&a, &b]), wanted);
    let mut reader = LogReader::open(&[&b, &a]).unwrap();
    for input in &wanted {
        assert_eq!(Owned::of(&reader.next().unwrap().unwrap()), *input);
        let second = input.stamp.input_seq >= 5;
        assert_eq!(reader.file_index(), usize::from(second));
        assert_eq!(reader.checkpoint(), second.then_some(&b"state after 4"[..]));
    }
    assert!(reader.next().unwrap().is_none());
    assert_eq!(read_whole(&[&b]), wanted[5..]);
}

#[test]
fn a_missing_or_torn_file_is_a_hole_that_is_named() {
    let dir = TempDir::new().unwrap();
    let [a, b] = two_files(dir.path());
    let c = write(dir.path(), &header(9), &LogStart::Initial, &[Owned::text(9)]);
    let wanted = |path: &Path, found, expected, n| {
        format!(
            "{}: goes on with input {found}, wanted input {expected}: {n} inputs are missing",
            path.display()
        )
    };
    let mut reader = LogReader::open(&[&a, &c]).unwrap();
    let (inputs, error) = read_all(&mut reader);
    assert_eq!(inputs.len(), 5);
    assert_eq!(error.unwrap().to_string(), wanted(&c, 9, 5, 4));

    let bytes = fs::read(&b).unwrap();
    fs::write(&b, &bytes[..bytes.len() - 3]).unwrap();
    let mut reader = LogReader::open(&[&a, &b, &c]).unwrap();
    let (inputs, error) = read_all(&mut reader);
    assert_eq!(inputs.len(), 8);
    assert_eq!(error.unwrap().to_string(), wanted(&c, 9, 8, 1));
    assert_eq!(reader.torn().len(), 1);

    let mut reader = LogReader::open(&[&a, &a]).unwrap();
    assert!(matches!(read_all(&mut reader).1, Some(LogError::Hole { expected: 5, found: 0, .. })));
}

#[test]
fn a_file_that_a_kill_left_in_its_header_or_checkpoint_is_empty() {
    let dir = TempDir::new().unwrap();
    let [a, b] = two_files(dir.path());
    let bytes = fs::read(&b).unwrap();
    for cut in [0, 50, header(5).encode().len() + 60] {
        fs::write(&b, &bytes[..cut]).unwrap();
        let mut reader = LogReader::open(&[&a, &b]).unwrap();
        let (inputs, error) = read_all(&mut reader);
        assert_eq!((inputs.len(), error.is_none()), (5, true), "{cut}: {error:?}");
        assert_eq!(reader.torn().len(), 1);
        assert_eq!(reader.torn()[0].path, b);
    }
}

#[test]
fn only_a_lost_input_may_come_after_a_hole() {
    let dir = TempDir::new().unwrap();
    let inputs = [Owned::text(0), Owned::lost(4, 3), Owned::text(5)];
    let path = write(dir.path(), &header(0), &LogStart::Initial, &inputs);
    let mut reader = LogReader::open(&[&path]).unwrap();
    assert_eq!(read_all(&mut reader).0, inputs);
    assert_eq!(reader.lost(), 3);

    let next = [Owned::lost(9, 3), Owned::text(10)];
    let second = write(dir.path(), &header(9), &LogStart::Missing, &next);
    let mut reader = LogReader::open(&[&path, &second]).unwrap();
    assert_eq!(read_all(&mut reader).0, [&inputs[..], &next[..]].concat());
    assert_eq!(reader.lost(), 6);

    for bad in [[Owned::text(20), Owned::text(22)], [Owned::text(20), Owned::text(20)]] {
        let header = LogHeader { epoch: 43, ..header(20) };
        let path = write(dir.path(), &header, &LogStart::Initial, &bad);
        let (read, error) = read_all(&mut LogReader::open(&[&path]).unwrap());
        assert_eq!(read, bad[..1]);
        assert!(matches!(error, Some(LogError::Hole { expected: 21, .. })), "{error:?}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn files_of_different_runs_are_refused() {
    let dir = TempDir::new().unwrap();
    let [a, b] = two_files(dir.path());
    assert_eq!(newest_run(dir.path()).unwrap(), [a.clone(), b]);
    for (header, wanted) in [
        (LogHeader { epoch: 43, ..header(5) }, "has epoch 43, wanted 42 as in "),
        (
            LogHeader { symbols: Vec::new(), ..header(6) },
            "has symbols [], wanted [Symbol(ETHUSDT), Symbol(BTCUSDT)] as in ",
        ),
        (LogHeader { config_digest: [1; 32], ..header(7) }, "has configuration digest [1, 1, 1"),
    ] {
        let other = write(dir.path(), &header, &LogStart::Initial, &[]);
        let error = LogReader::open(&[&a, &other]).unwrap_err().to_string();
        let as_in = format!("as in {}; give the files of one run", a.display());
        assert!(error.contains(wanted) && error.contains(&as_in), "{error}");
    }
}

#[test]
fn an_unknown_kind_is_an_error_and_not_a_torn_tail() {
    let dir = TempDir::new().unwrap();
    let path =
        write(dir.path(), &header(0), &LogStart::Initial, &[Owned::new(0, InputKind::Stop, b"")]);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 56;
    bytes[at + 8] = 200;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 4]), &bytes[at + 8..]);
    bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let (_, error) = read_all(&mut LogReader::open(&[&path]).unwrap());
    let wanted = format!("{}: the record at offset {at} has the unknown kind 200", path.display());
    assert_eq!(error.unwrap().to_string(), wanted);
}

#[test]
fn the_layout_is_the_documented_one() {
    let dir = TempDir::new().unwrap();
    let input = Owned {
        stamp: Stamp {
            input_seq: 0x0102_0304_0506_0708,
            ts_recv: Nanos(0x1112_1314_1516_1718),
            ts_kernel: Nanos(-1),
            ts_parsed: Nanos::UNDEF,
        },
        kind: InputKind::RestDepth,
        symbol: SymbolIndex(0x3132),
        connection: 0x2122,
        aux: 0x4142_4344,
        ts_aux: Nanos(0x5152_5354_5556_5758),
        bytes: b"abc".to_vec(),
    };
    let header = LogHeader { first_input_seq: input.stamp.input_seq, ..header(0) };
    let path = write(dir.path(), &header, &LogStart::Initial, std::slice::from_ref(&input));
    let bytes = fs::read(&path).unwrap();
    let texts = header.config.len() + 2 * 8;
    let header_bytes = (88 + texts).next_multiple_of(8);
    assert_eq!(bytes.len(), header_bytes + 40 + 64);
    let mut wanted = b"CBLOG\r\n\x1a\x01\0\0\0".to_vec();
    wanted.extend_from_slice(&u32::try_from(header_bytes).unwrap().to_le_bytes());
    wanted.extend_from_slice(&42_u64.to_le_bytes());
    wanted.extend_from_slice(&header.first_input_seq.to_le_bytes());
    wanted.extend_from_slice(&header.ts_start.0.to_le_bytes());
    wanted.extend_from_slice(&[0x5a; 32]);
    wanted.extend_from_slice(&u32::try_from(header.config.len()).unwrap().to_le_bytes());
    wanted.extend_from_slice(b"\x02\0\0\0\x07\0\0\0");
    assert_eq!(bytes[..84], wanted);
    assert_eq!(
        &bytes[88..88 + texts],
        format!("{}\x07ETHUSDT\x07BTCUSDT", header.config).as_bytes()
    );
    assert_eq!(&bytes[header_bytes..header_bytes + 8], b"CKPT\0\0\0\0");
    let record = &bytes[header_bytes + 40..];
    let hex = "03000000........03002221323100004443424100000000\
               08070605040302011817161514131211ffffffffffffffff58575655545352516162630000000000";
    for (index, byte) in record.iter().enumerate() {
        let wanted = &hex[2 * index..2 * index + 2];
        assert!(
            wanted == ".." || wanted == format!("{byte:02x}"),
            "byte {index} is {byte:02x}, wanted {wanted}"
        );
    }
}
