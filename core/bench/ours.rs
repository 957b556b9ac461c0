//! The cases on this crate.

use crate::{Library, PAYLOAD, Result, lanes, seen};
use natsune::jetstream::{ConsumeOptions, Consumption};
use natsune::{Client, Subscription};

pub struct Ours {
    case: String,
    client: Client,
    subscription: Option<Subscription>,
    consumption: Option<Consumption>,
}

impl Library for Ours {
    async fn open(url: String, case: String) -> Result<Ours> {
        let client = natsune::connect(url.as_str()).await?;
        let mut ours = Ours { case, client, subscription: None, consumption: None };
        match ours.case.as_str() {
            "sub" => {
                let all = ours.client.subscribe("bench.sub").pending_messages(usize::MAX).pending_bytes(usize::MAX);
                ours.subscription = Some(all.await?);
            }
            "jspull" => {
                let consumer = ours.client.jetstream().consumer("BENCH", "bench")?;
                let options = ConsumeOptions { max_messages: Some(500), ..ConsumeOptions::default() };
                ours.consumption = Some(consumer.consume(&options).await?);
            }
            _ => {}
        }
        Ok(ours)
    }

    async fn round(&mut self, count: u64) -> Result<()> {
        match self.case.as_str() {
            "pub" => {
                for _ in 0..count {
                    self.client.publish("bench.pub", PAYLOAD).await?;
                }
                self.client.flush().await?;
            }
            "sub" => {
                let subscription = self.subscription.as_mut().ok_or("not subscribed")?;
                self.client.publish("bench.flood", count.to_string()).await?;
                for _ in 0..count {
                    let message = subscription.next().await?.ok_or("the subscription ended")?;
                    seen(message.subject(), message.payload())?;
                }
            }
            "req1" => self.requests(1, count).await?,
            "req256" => self.requests(256, count).await?,
            "jspub1" => self.publishes(1, count).await?,
            "jspub256" => self.publishes(256, count).await?,
            "jspull" => {
                let consumption = self.consumption.as_ref().ok_or("not consuming")?;
                for _ in 0..count {
                    let message = consumption.next().await?.ok_or("the consumption ended")?;
                    seen(message.subject(), message.payload())?;
                    message.ack()?;
                }
                self.client.flush().await?;
            }
            other => return Err(format!("no case is called {other}").into()),
        }
        Ok(())
    }
}

impl Ours {
    async fn requests(&self, parallel: u64, count: u64) -> Result<()> {
        let client = self.client.clone();
        lanes(parallel, count, move || {
            let client = client.clone();
            async move {
                let reply = client.request("bench.req", PAYLOAD).await?;
                seen(reply.subject(), reply.payload())
            }
        })
        .await
    }

    async fn publishes(&self, parallel: u64, count: u64) -> Result<()> {
        let js = self.client.jetstream();
        lanes(parallel, count, move || {
            let js = js.clone();
            async move { Ok(js.publish("bench.js", PAYLOAD).await.map(drop)?) }
        })
        .await
    }
}
