//! Cancelling at any await loses nothing and leaves nothing: every wait is dropped again and again under load.

mod support;

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use natsune::{Client, Code, State, Subscription};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{NatsServer, client_with, options, soon, until};

/// Polls a future a few times and then drops it: the way of every kind of cancellation.
async fn cut_short<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn server_and_client() -> Option<(NatsServer, Client)> {
    let server = NatsServer::start(&[])?;
    let mut options = options(&server.url());
    options.outbound_mark = 8 << 10;
    let client = client_with(options).await;
    Some((server, client))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_readers_lose_no_message() {
    let Some((_server, client)) = server_and_client().await else { return };
    const N: u64 = 50_000;
    let mut sub = client.subscribe("n").await.unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let publishing = tokio::spawn({
        let (client, seen) = (client.clone(), seen.clone());
        async move {
            for n in 0..N {
                client.publish("n", n.to_le_bytes()).await.unwrap();
                // Behind a reader that has caught up, so that it has to wait now and then.
                while n % 100 == 0 && seen.load(Ordering::Relaxed) < n {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let mut rng = StdRng::seed_from_u64(1);
    let (mut expected, mut cancelled) = (0u64, 0u64);
    while expected < N {
        let polls = rng.random_range(0..2);
        match soon("a message", cut_short(sub.next(), polls)).await {
            Some(message) => {
                assert_eq!(message.unwrap().unwrap().payload(), expected.to_le_bytes());
                expected += 1;
                seen.store(expected, Ordering::Relaxed);
            }
            None => {
                cancelled += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    publishing.await.unwrap();
    println!("{cancelled} reads were cancelled");
    assert!(cancelled > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_waiters_among_several_lose_no_message_and_no_wake() {
    let Some((_server, client)) = server_and_client().await else { return };
    const N: u64 = 20_000;
    let sub = Arc::new(client.subscribe("n").await.unwrap());
    let sum = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..4u64)
        .map(|seed| {
            let (sub, sum) = (sub.clone(), sum.clone());
            tokio::spawn(async move {
                let mut rng = StdRng::seed_from_u64(seed);
                let mut done = 0;
                loop {
                    let taken = sub.take(rng.random_range(1..5), 1 << 20, done);
                    done = taken.messages.len();
                    for message in &taken.messages {
                        sum.fetch_add(u64::from_le_bytes(message.payload().try_into().unwrap()), Ordering::Relaxed);
                    }
                    match taken.state {
                        State::More => {}
                        State::Idle => {
                            // Half of the waits are given up.
                            cut_short(sub.ready(), rng.random_range(0..2)).await;
                            tokio::task::yield_now().await;
                        }
                        State::Ended => return,
                        State::Failed(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for n in 0..N {
        client.publish("n", n.to_le_bytes()).await.unwrap();
    }
    client.flush().await.unwrap();
    soon("drained", sub.drain()).await.unwrap();
    for worker in workers {
        soon("a worker ends", worker).await.unwrap();
    }
    assert_eq!(sum.load(Ordering::Relaxed), N * (N - 1) / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_publish_was_not_sent_and_a_finished_one_was() {
    let Some((_server, client)) = server_and_client().await else { return };
    let sub = client.subscribe("n").await.unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let (mut sent, mut cancelled) = (0u64, 0);
    let payload = [1u8; 500];
    while cancelled < 500 && sent < 400_000 {
        match cut_short(client.publish("n", &payload), rng.random_range(0..2)).await {
            Some(result) => {
                result.unwrap();
                sent += 1;
            }
            None => {
                cancelled += 1;
                if cancelled % 7 == 0 {
                    soon("room", client.writable()).await.unwrap();
                }
            }
        }
    }
    let counts = soon("flush", client.flush()).await.unwrap();
    assert_eq!((counts.published, counts.flushed), (sent, sent));
    until("all have come", || sub.stats().received == sent).await;
    println!("{sent} sent, {cancelled} cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_wait_leaves_nothing_behind() {
    let Some((server, client)) = server_and_client().await else { return };
    let mut service = client.subscribe("svc").await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(message) = service.next().await.unwrap() {
            message.respond("ok").await.unwrap();
        }
    });
    let busy = Arc::new(AtomicBool::new(true));
    let load = tokio::spawn({
        let (client, busy) = (client.clone(), busy.clone());
        async move {
            while busy.load(Ordering::Relaxed) {
                client.publish("load", [0; 100]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut rng = StdRng::seed_from_u64(3);
    let mut finished = [0u32; 6];
    for round in 0..3_000u32 {
        let polls = rng.random_range(0..3);
        let waits: [Pin<Box<dyn Future<Output = bool> + Send>>; 5] = [
            Box::pin(async { client.request("svc", "x").await.is_ok() }),
            Box::pin(async { client.subscribe("tmp").into_future().await.is_ok() }),
            Box::pin(async { client.flush().await.is_ok() }),
            Box::pin(async { client.rtt().await.is_ok() }),
            Box::pin(async { natsune::connect(server.url()).await.is_ok() }),
        ];
        let pick = if round % 50 == 0 { 4 } else { round as usize % 4 };
        let [request, subscribe, flush, rtt, connect] = waits;
        let done = match pick {
            0 => cut_short(request, polls).await,
            1 => cut_short(subscribe, polls).await,
            2 => cut_short(flush, polls).await,
            3 => cut_short(rtt, polls).await,
            _ => cut_short(connect, polls).await,
        };
        if let Some(ok) = done {
            assert!(ok, "wait {pick} failed");
            finished[pick] += 1;
        }
    }
    busy.store(false, Ordering::Relaxed);
    load.await.unwrap();
    soon("flush", client.flush()).await.unwrap();
    let stats = client.stats();
    assert_eq!((stats.requests_waiting, stats.subscriptions), (0, 1), "{finished:?}");
    // Nothing is left at the server either: only the service and the reply subscription.
    let answer = client.request("svc", "still there").await.unwrap();
    assert_eq!(answer.payload(), b"ok");
    client.close().await;
    soon("the service ends", answering).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_in_the_middle_of_everything_ends_every_wait() {
    for round in 0..20u64 {
        let Some((_server, client)) = server_and_client().await else { return };
        let silent = client.subscribe("silent").await.unwrap();
        let mut tasks = Vec::new();
        for kind in 0..6u32 {
            for _ in 0..4 {
                let client = client.clone();
                tasks.push(tokio::spawn(async move {
                    let error = match kind {
                        0 => client.request("silent", "x").await.err(),
                        1 => endless(client.subscribe("idle").await).await,
                        2 => loop {
                            if let Err(error) = client.publish("silent", [0; 1000]).await {
                                break Some(error);
                            }
                        },
                        3 => loop {
                            if let Err(error) = client.flush().await {
                                break Some(error);
                            }
                        },
                        4 => client.closed().await,
                        _ => loop {
                            if let Err(error) = client.writable().await {
                                break Some(error);
                            }
                            tokio::task::yield_now().await;
                        },
                    };
                    assert!(error.is_none_or(|e| e.code() == Code::Closed), "kind {kind}");
                }));
            }
        }
        for _ in 0..round * 10 {
            tokio::task::yield_now().await;
        }
        soon("close", client.close()).await;
        for task in tasks {
            soon("a wait ends", task).await.unwrap();
        }
        let counts = client.publish_counts();
        assert!(counts.balanced() && counts.pending == 0, "{counts:?}");
        drop(silent);
    }
}

/// Reads until the end.
async fn endless(sub: natsune::Result<Subscription>) -> Option<natsune::Error> {
    match sub {
        Err(error) => Some(error),
        Ok(mut sub) => loop {
            match sub.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        },
    }
}
