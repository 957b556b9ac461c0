//! The wall: a panic in any export comes out as `internal`, and the next call works as if nothing had been.

mod common;

use common::{World, code, publish};
use natsune_ffi::{R, inject_panic};

type Export = (&'static str, Box<dyn Fn() -> R<()>>);

fn unit<T>(result: R<T>) -> R<()> {
    result.map(|_| ())
}

#[test]
fn a_panic_in_any_export_is_internal() {
    let world = World::new();
    let (queue, client) = (world.queue.number, world.client);
    let exports: Vec<Export> = vec![
        ("queue_new", Box::new(|| unit(natsune_ffi::queue_new(Box::new(|| ()))))),
        ("queue_drain", Box::new(move || natsune_ffi::queue_drain(queue, &mut Vec::new()))),
        ("queue_drain_some", Box::new(move || unit(natsune_ffi::queue_drain_some(queue, &mut [0])))),
        ("finish", Box::new(|| unit(natsune_ffi::finish(1)))),
        ("finish_ack", Box::new(|| unit(natsune_ffi::finish_ack(1)))),
        ("start", Box::new(move || unit(natsune_ffi::start(queue, client, "client.flush", "")))),
        ("info", Box::new(move || unit(natsune_ffi::info(client, "stats")))),
        ("jetstream", Box::new(move || unit(natsune_ffi::jetstream(client, "")))),
        ("publish", Box::new(move || unit(publish(client, "a", b"")))),
        ("start_request", Box::new(move || unit(natsune_ffi::start_request(queue, client, b"a", &[], b"", 0)))),
        (
            "start_js_publish",
            Box::new(move || unit(natsune_ffi::start_js_publish(queue, client, b"a", &[], b"", None))),
        ),
        ("take", Box::new(move || unit(natsune_ffi::take(client, 1, 1, 0)))),
        ("start_ready", Box::new(move || unit(natsune_ffi::start_ready(queue, client)))),
        ("take_events", Box::new(move || unit(natsune_ffi::take_events(client, 1)))),
        ("settle", Box::new(move || unit(natsune_ffi::settle(client, b"a", 0, 1, None)))),
        ("start_ack_sync", Box::new(move || unit(natsune_ffi::start_ack_sync(queue, client, b"a", 0, 0)))),
    ];
    for (name, export) in &exports {
        inject_panic();
        assert_eq!(code(export()), "internal", "{name}");
        assert_ne!(export().err().map(|failure| failure.code), Some("internal"), "{name}: only once");
    }
    // Those that cannot fail only swallow it.
    for quiet in [natsune_ffi::cancel, natsune_ffi::close_handle, natsune_ffi::queue_close] {
        inject_panic();
        quiet(1);
    }
    publish(client, "a", b"").expect("nothing was harmed");
}

/// A new export that is not in the list above must not be forgotten.
#[test]
fn the_list_is_complete() {
    let exported: Vec<&str> = include_str!("../src/lib.rs")
        .lines()
        .filter(|line| !line.starts_with("pub use natsune::"))
        .collect::<Vec<_>>()
        .join(" ")
        .split("pub use ")
        .skip(1)
        .flat_map(|list| {
            list.split(';')
                .next()
                .unwrap_or_default()
                .split([':', '{', '}', ',', ' '])
                .map(str::trim)
                .collect::<Vec<_>>()
        })
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(|name| &*Box::leak(name.to_owned().into_boxed_str()))
        .collect();
    let here = include_str!("walls.rs");
    // Modules in front of the names, and what runs no code of ours worth a wall.
    let known = [
        "control",
        "events",
        "failure",
        "handles",
        "hot",
        "hub",
        "outcome",
        "inject_panic",
        "open_handles",
        "metadata",
    ];
    for name in exported.iter().filter(|name| !known.contains(name)) {
        let listed = here.contains(&format!("(\"{name}\"")) || here.contains(&format!("natsune_ffi::{name}"));
        assert!(listed, "`{name}` has no test of its wall");
    }
    assert!(exported.contains(&"start_ack_sync") && exported.len() > 20, "{exported:?}");
}
