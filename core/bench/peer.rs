//! The cases on async-nats.

use crate::{Library, PAYLOAD, Result, lanes, seen};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::{Client, ConnectOptions, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

pub struct Peer {
    case: String,
    client: Client,
    subscriber: Option<Subscriber>,
    consumption: Option<pull::Stream>,
}

impl Library for Peer {
    async fn open(url: String, case: String) -> Result<Peer> {
        // What arrives faster than it is taken is dropped beyond this.
        let client = ConnectOptions::new().subscription_capacity(16_000_000).connect(url).await?;
        let mut peer = Peer { case, client, subscriber: None, consumption: None };
        match peer.case.as_str() {
            "sub" => peer.subscriber = Some(peer.client.subscribe("bench.sub").await?),
            "jspull" => {
                let js = async_nats::jetstream::new(peer.client.clone());
                let consumer: PullConsumer = js.get_stream("BENCH").await?.get_consumer("bench").await?;
                peer.consumption = Some(consumer.stream().max_messages_per_batch(500).messages().await?);
            }
            _ => {}
        }
        peer.processed().await?;
        Ok(peer)
    }

    async fn round(&mut self, count: u64) -> Result<()> {
        let payload = Bytes::from_static(&PAYLOAD);
        match self.case.as_str() {
            "pub" => {
                for _ in 0..count {
                    self.client.publish("bench.pub", payload.clone()).await?;
                }
                self.processed().await?;
            }
            "sub" => {
                let subscriber = self.subscriber.as_mut().ok_or("not subscribed")?;
                self.client.publish("bench.flood", count.to_string().into()).await?;
                for _ in 0..count {
                    let message = subscriber.next().await.ok_or("the subscription ended")?;
                    seen(&message.subject, &message.payload)?;
                }
            }
            "req1" => self.requests(1, count).await?,
            "req256" => self.requests(256, count).await?,
            "jspub1" => self.publishes(1, count).await?,
            "jspub256" => self.publishes(256, count).await?,
            "jspull" => {
                let consumption = self.consumption.as_mut().ok_or("not consuming")?;
                for _ in 0..count {
                    let message = consumption.next().await.ok_or("the consumption ended")??;
                    seen(&message.subject, &message.payload)?;
                    message.ack().await?;
                }
                self.processed().await?;
            }
            other => return Err(format!("no case is called {other}").into()),
        }
        Ok(())
    }
}

impl Peer {
    /// Its flush ends when the socket took everything. A request that nobody answers ends when the server processed everything.
    async fn processed(&self) -> Result<()> {
        match self.client.request("bench.nobody", Bytes::new()).await {
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err("somebody answers bench.nobody".into()),
        }
    }

    async fn requests(&self, parallel: u64, count: u64) -> Result<()> {
        let client = self.client.clone();
        lanes(parallel, count, move || {
            let client = client.clone();
            async move {
                let reply = client.request("bench.req", Bytes::from_static(&PAYLOAD)).await?;
                seen(&reply.subject, &reply.payload)
            }
        })
        .await
    }

    async fn publishes(&self, parallel: u64, count: u64) -> Result<()> {
        let js = async_nats::jetstream::new(self.client.clone());
        lanes(parallel, count, move || {
            let js = js.clone();
            async move {
                js.publish("bench.js", Bytes::from_static(&PAYLOAD)).await?.await?;
                Ok(())
            }
        })
        .await
    }
}
