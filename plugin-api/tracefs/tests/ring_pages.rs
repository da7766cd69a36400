//! Synthetic pages with all types of records and all types of damage.
#![allow(clippy::unwrap_used)]

mod synthetic_pages;

use proptest::prelude::*;
use synthetic_pages::{Builder, HEADER_EVENT, HEADER_PAGE, layout};
use tracefs::format::Formatter;
use tracefs::ring::{Damage, Gap, Item, Layout, Lost, Page, Timeline};

fn decoded(bytes: &[u8]) -> (Vec<(u64, Vec<u8>)>, Option<Damage>) {
    let layout = layout();
    let page = match Page::new(&layout, bytes) {
        Ok(page) => page,
        Err(damage) => return (Vec::new(), Some(damage)),
    };
    let mut records = page.records();
    let list = records.by_ref().map(|record| (record.stamp, record.data.to_vec())).collect();
    (list, records.damage())
}

#[test]
fn page_and_event_headers_are_parsed() {
    assert_eq!(layout().page_size(), 4096);
    assert!(Layout::parse("", HEADER_EVENT).is_none());
    assert!(Layout::parse(HEADER_PAGE, "").is_none());
    assert!(Layout::parse(&HEADER_PAGE.replace("size:8", "size:3"), HEADER_EVENT).is_none());
    assert!(Layout::parse(&HEADER_PAGE.replace("4080", "99999999999"), HEADER_EVENT).is_none());
}

#[test]
fn pages_of_a_32_bit_kernel_are_decoded() {
    let header = HEADER_PAGE
        .replace("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:4")
        .replace("offset:16;\tsize:4080", "offset:12;\tsize:4084");
    let layout = Layout::parse(&header, HEADER_EVENT).unwrap();
    let mut page = 7u64.to_ne_bytes().to_vec();
    page.extend_from_slice(&(8u32 | 1 << 31 | 1 << 30).to_ne_bytes());
    page.extend_from_slice(&(1u32 | 5 << 5).to_ne_bytes());
    page.extend_from_slice(b"data");
    page.extend_from_slice(&9u32.to_ne_bytes());
    let page = Page::new(&layout, &page).unwrap();
    assert_eq!(page.lost, Some(Lost { count: Some(9) }));
    assert_eq!(page.records().map(|record| record.stamp).collect::<Vec<_>>(), [12]);
}

#[test]
fn pages_with_a_larger_header_are_decoded() {
    let header = HEADER_PAGE.replace("offset:16;\tsize:4080", "offset:40;\tsize:4056");
    let layout = Layout::parse(&header, HEADER_EVENT).unwrap();
    assert_eq!(layout.page_size(), 4096);
    let mut bytes = Builder::at(7).record(5, b"data").record(1, b"more").page_after_loss(Some(9));
    bytes.splice(16..16, [0xee; 24]);
    let page = Page::new(&layout, &bytes).unwrap();
    assert_eq!(page.lost, Some(Lost { count: Some(9) }));
    assert_eq!(page.used(), bytes.len());
    let records: Vec<_> = page.records().map(|record| (record.stamp, record.data)).collect();
    assert_eq!(records, [(12, b"data".as_slice()), (13, b"more".as_slice())]);

    let mut timeline = Timeline::new(&layout);
    timeline.push(0, &bytes);
    timeline.finish();
    assert_eq!(drain(&mut timeline), [(0, None), (0, Some(12)), (0, Some(13))]);
    assert_eq!(timeline.damaged(), 0);
}

#[test]
fn all_types_of_records_are_decoded() {
    let long = vec![3; 200];
    let page = Builder::at(1000)
        .record(0, &[1; 8])
        .record(10, &long)
        .extend(1 << 40)
        .record(1, &[2; 112])
        .discarded(50, 20)
        .record(1, &[])
        .absolute(1 << 50)
        .record(4, &[4; 4])
        .page();
    let (records, damage) = decoded(&page);
    assert_eq!(damage, None);
    let later = 1010 + (1 << 40);
    let stamps: Vec<u64> = records.iter().map(|(stamp, _)| *stamp).collect();
    assert_eq!(stamps, [1000, 1010, later + 1, later + 2, (1 << 50) + 4]);
    assert_eq!(records[1].1, long);
    assert_eq!(records[3].1, []);
}

#[test]
fn absolute_stamps_get_their_high_bits_from_the_previous_stamp() {
    let high = 0x1234 << 56 & 0xf8 << 56 | 99;
    let (records, _) = decoded(&Builder::at(high).absolute(100).record(0, &[0; 4]).page());
    assert_eq!(records[0].0, high + 1);
    let (records, _) = decoded(&Builder::at(high).absolute(98).record(0, &[0; 4]).page());
    assert_eq!(records[0].0, high - 1 + (1 << 59));
}

#[test]
fn padding_without_a_delta_ends_the_page() {
    let mut builder = Builder::at(0).record(1, &[0; 4]);
    builder.word(29, 0);
    builder.data.resize(100, 0xff);
    let (records, damage) = decoded(&builder.page());
    assert_eq!((records.len(), damage), (1, None));
}

#[test]
fn lost_records_are_reported_by_the_page() {
    let layout = layout();
    let lost = |page: &[u8]| Page::new(&layout, page).unwrap().lost;
    assert_eq!(lost(&Builder::at(0).record(0, &[0; 4]).page()), None);
    assert_eq!(lost(&Builder::at(0).record(0, &[0; 4]).page_after_loss(None)), Some(Lost { count: None }));
    let page = Builder::at(0).record(0, &[0; 4]).page_after_loss(Some(42));
    assert_eq!(lost(&page), Some(Lost { count: Some(42) }));
    assert_eq!(Page::new(&layout, &page).unwrap().used(), page.len());
    assert_eq!(decoded(&page).0.len(), 1);
}

#[test]
fn damage_ends_the_page() {
    assert_eq!(decoded(&[0; 15]).1, Some(Damage::Header));
    assert_eq!(decoded(&Builder::at(0).page_with(4)).1, Some(Damage::Commit));
    let valid = || Builder::at(0).record(0, &[0; 4]);
    for invalid in [
        [0u8, 0, 0, 0].as_slice(),
        &[28, 0, 0, 0],
        &[0, 0, 0, 0, 2, 0, 0, 0],
        &[30, 0, 0, 0],
        &[29, 1, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[1],
    ] {
        let mut builder = valid();
        builder.data.extend_from_slice(invalid);
        let (records, damage) = decoded(&builder.page());
        assert_eq!((records.len(), damage), (1, Some(Damage::Record)), "{invalid:?}");
    }
}

/// All settled items of a timeline: the CPU, and the time stamp or `None` for a gap.
fn drain(timeline: &mut Timeline) -> Vec<(u32, Option<u64>)> {
    let mut items = Vec::new();
    while let Some(item) = timeline.next() {
        items.push(match item {
            Item::Record(record) => (record.cpu, Some(record.stamp)),
            Item::Lost(gap) => (gap.cpu, None),
        });
    }
    items
}

#[test]
fn cpus_are_merged_in_time_order_across_pages() {
    let mut timeline = Timeline::new(&layout());
    timeline.push(1, &Builder::at(10).record(0, &[0; 4]).record(20, &[0; 4]).page());
    timeline.push(0, &Builder::at(5).record(0, &[0; 4]).record(10, &[0; 4]).page());
    assert_eq!(drain(&mut timeline), []);
    timeline.settle(14);
    assert_eq!(drain(&mut timeline), [(0, Some(5)), (1, Some(10))]);
    timeline.push(0, &Builder::at(30).record(0, &[0; 4]).record(2, &[0; 4]).page());
    timeline.settle(31);
    assert_eq!(drain(&mut timeline), [(0, Some(15)), (0, Some(30)), (1, Some(30))]);
    timeline.finish();
    assert_eq!(drain(&mut timeline), [(0, Some(32))]);
    assert_eq!((timeline.late(), timeline.damaged()), (0, 0));
}

#[test]
fn gaps_precede_the_next_record_of_their_cpu() {
    let mut timeline = Timeline::new(&layout());
    timeline.push(0, &Builder::at(1).record(0, &[0; 4]).page());
    timeline.push(0, &Builder::at(7).record(2, &[0; 4]).page_after_loss(Some(5)));
    timeline.push(1, &Builder::at(8).record(0, &[0; 4]).page());
    timeline.finish();
    assert_eq!(drain(&mut timeline), [(0, Some(1)), (1, Some(8)), (0, None), (0, Some(9))]);
}

#[test]
fn consecutive_losses_are_one_gap() {
    let mut timeline = Timeline::new(&layout());
    timeline.push(0, &Builder::at(1).record(0, &[0; 4]).page());
    timeline.lose(0, 5);
    timeline.lose(0, 0);
    timeline.lose(0, 2);
    timeline.push(0, &Builder::at(2).record(0, &[0; 4]).page());
    timeline.settle(2);
    assert_eq!(timeline.next().map(|item| matches!(item, Item::Record(_))), Some(true));
    assert_eq!(timeline.next(), Some(Item::Lost(Gap { cpu: 0, count: Some(7) })));
}

#[test]
fn losses_reported_earlier_are_a_gap_of_0_records() {
    let mut timeline = Timeline::new(&layout());
    timeline.lose(0, 0);
    timeline.push(0, &Builder::at(1).record(0, &[0; 4]).page_after_loss(None));
    timeline.lose(0, 0);
    timeline.push(0, &Builder::at(2).record(0, &[0; 4]).page());
    timeline.settle(2);
    assert_eq!(timeline.next(), Some(Item::Lost(Gap { cpu: 0, count: Some(0) })));
    assert_eq!(drain(&mut timeline), [(0, Some(1)), (0, Some(2))]);
    let mut text = Vec::new();
    Formatter::write_gap(0, Some(0), &mut text);
    assert!(text.is_empty());
}

#[test]
fn a_damaged_page_is_a_gap() {
    let mut timeline = Timeline::new(&layout());
    timeline.push(3, b"invalid");
    let mut builder = Builder::at(4).record(0, &[0; 4]);
    builder.word(28, 0);
    timeline.push(3, &builder.page());
    timeline.push(3, &Builder::at(9).record(0, &[0; 4]).page());
    timeline.finish();
    assert_eq!(timeline.next(), Some(Item::Lost(Gap { cpu: 3, count: None })));
    assert_eq!(drain(&mut timeline), [(3, Some(4)), (3, None), (3, Some(9))]);
    assert_eq!(timeline.damaged(), 2);
}

#[test]
fn a_late_record_is_counted() {
    let mut timeline = Timeline::new(&layout());
    timeline.push(0, &Builder::at(10).record(0, &[0; 4]).page());
    timeline.settle(10);
    assert_eq!(drain(&mut timeline).len(), 1);
    timeline.push(1, &Builder::at(9).record(0, &[0; 4]).page());
    assert_eq!(drain(&mut timeline), [(1, Some(9))]);
    assert_eq!(timeline.late(), 1);
}

/// A record's delta, its length in words, and whether there is a long pause before it.
type RecordSpec = (u32, usize, bool);

/// A page with these records, and the expected time stamps and lengths.
fn synthetic_page(records: &[RecordSpec], start: u64) -> (Vec<u8>, Vec<(u64, usize)>) {
    let mut builder = Builder::at(start);
    let (mut stamp, mut expected) = (start, Vec::new());
    for (delta, words, pause) in records {
        if *pause {
            builder = builder.extend(u64::from(*delta) << 10);
            stamp += u64::from(*delta) << 10;
        }
        builder = builder.record(*delta, &vec![0xab; words * 4]);
        stamp += u64::from(*delta);
        expected.push((stamp, words * 4));
    }
    (builder.page(), expected)
}

proptest! {
    #[test]
    fn pages_round_trip(
        records in prop::collection::vec((0u32..1 << 27, 0usize..60, any::<bool>()), 0..60),
        start in 0u64..1 << 50,
    ) {
        let (page, expected) = synthetic_page(&records, start);
        let (decoded, damage) = decoded(&page);
        prop_assert_eq!(damage, None);
        let found: Vec<_> = decoded.into_iter().map(|(stamp, data)| (stamp, data.len())).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (records, _) = decoded(&bytes);
        prop_assert!(records.len() <= bytes.len());
    }

    #[test]
    fn any_data_in_a_valid_page_is_read_without_panic(
        data in prop::collection::vec(any::<u8>(), 0..300),
        stamp: u64,
    ) {
        let page = Builder { stamp, data }.page();
        let (records, _) = decoded(&page);
        prop_assert!(records.len() <= page.len() / 4);
    }

    #[test]
    fn a_timeline_returns_each_record_once_and_in_order(
        pages in prop::collection::vec(
            (0u32..4, prop::collection::vec((0u32..1000, 0usize..4, any::<bool>()), 0..10), any::<bool>()),
            0..20,
        ),
    ) {
        let mut timeline = Timeline::new(&layout());
        let (mut clocks, mut pushed, mut returned) = ([0; 4], 0, Vec::new());
        for (cpu, records, settle) in pages {
            let (page, expected) = synthetic_page(&records, clocks[cpu as usize]);
            clocks[cpu as usize] = expected.last().map_or(clocks[cpu as usize], |last| last.0);
            pushed += expected.len();
            timeline.push(cpu, &page);
            if settle {
                timeline.settle(clocks.into_iter().min().unwrap());
                returned.extend(drain(&mut timeline));
            }
        }
        timeline.finish();
        returned.extend(drain(&mut timeline));
        prop_assert_eq!(returned.len(), pushed);
        prop_assert!(returned.is_sorted_by_key(|(_, stamp)| *stamp));
        prop_assert_eq!((timeline.late(), timeline.damaged()), (0, 0));
    }

    #[test]
    fn a_timeline_handles_any_pages_without_panic(
        pages in prop::collection::vec((0u32..3, prop::collection::vec(any::<u8>(), 0..200)), 0..10),
    ) {
        let mut timeline = Timeline::new(&layout());
        for (cpu, page) in &pages {
            timeline.push(*cpu, page);
        }
        timeline.finish();
        drain(&mut timeline);
        prop_assert!(timeline.damaged() <= pages.len() as u64);
    }
}
