//! JetStream as a part of the server: opened before the port, told of accounts, closed at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Error;
use super::shared::Shared;
use crate::auth::AccountEvent;
use crate::config::Config;
use crate::jetstream::{JetStream, Settings};

/// Opens the store and serves all accounts, those to come included; `None`: JetStream is off.
pub(super) async fn start(shared: &Arc<Shared>, config: &Config) -> Result<Option<JetStream>, Error> {
    let Some(settings) = config.jetstream.clone() else { return Ok(None) };
    shared.log.info(format_args!("Starting JetStream"));
    let place = settings.store_dir.as_ref().map_or_else(|| "memory".to_owned(), |dir| dir.display().to_string());
    let settings = Settings { config: settings, server_name: shared.name.clone() };
    // Reading a large store takes its time, and the runtime has other things to do.
    let opened = tokio::task::spawn_blocking(move || JetStream::open(settings)).await;
    let store_error = |error: &dyn std::fmt::Display| Error::Store { path: place.clone(), reason: error.to_string() };
    let jetstream = opened.map_err(|error| store_error(&error))?.map_err(|error| store_error(&error))?;
    shared.log.info(format_args!("  Store Directory: {place:?}"));
    if let Err(trouble) = jetstream.health() {
        shared.log.warn(format_args!("JetStream: {trouble}"));
    }
    shared.set_report(Arc::new(jetstream.clone()));
    shared.jetstream.store(true, Ordering::Relaxed);
    follow_accounts(shared, &jetstream);
    Ok(Some(jetstream))
}

fn follow_accounts(shared: &Arc<Shared>, jetstream: &JetStream) {
    let runtime = tokio::runtime::Handle::current();
    let (jetstream, auth) = (jetstream.clone(), Arc::downgrade(&shared.auth));
    shared.auth.watch_accounts(move |event| match event {
        AccountEvent::Present(account) => jetstream.enable_account(&account),
        AccountEvent::Removed(account) => {
            let (jetstream, auth) = (jetstream.clone(), auth.clone());
            runtime.spawn(async move {
                if jetstream.delete_account(&account).await {
                    // Only now: until then a crash must not make anybody forget that this data has to go.
                    let forget = move || auth.upgrade().map(|auth| auth.forget(&account.name));
                    let _ = tokio::task::spawn_blocking(forget).await;
                }
            });
        }
    });
}
