//! Takes connections and brings them to the point where a session can begin: INFO, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use natsune_protocol::encode;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::shared::{Phase, Shared};
use crate::config::HandshakeFirst;
use crate::session::{Input, Opened, Reason, Session, serve};

/// Connections refused for their number that may be told so at a time; the rest is just dropped.
const REFUSALS: usize = 16;
/// How long a refused client may take to read why.
const REFUSAL_TIME: Duration = Duration::from_millis(500);
/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Binds every address `host` stands for, all with one port. Only the first has to succeed: a machine without IPv6 is fine.
pub(super) async fn bind(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let host = host.trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = match host {
        // Everywhere means both families, as nats-server understands it.
        "0.0.0.0" | "::" | "" => vec!["[::]:0".parse(), "0.0.0.0:0".parse()].into_iter().flatten().collect(),
        host => {
            let mut found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            found.sort_by_key(SocketAddr::is_ipv6);
            found.dedup();
            found
        }
    };
    let mut listeners = Vec::new();
    let mut port = port;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for mut address in addresses {
        address.set_port(port);
        match listen(address) {
            Ok(listener) => {
                let any_v6 = address.ip().is_unspecified() && address.is_ipv6();
                port = listener.local_addr()?.port();
                listeners.push(listener);
                if any_v6 {
                    break;
                }
            }
            Err(error) if listeners.is_empty() => failed = error,
            Err(_) => {}
        }
    }
    if listeners.is_empty() { Err(failed) } else { Ok(listeners) }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the server takes no more clients.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut phase = shared.phase();
    let refusing = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase > Phase::Running) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, addr)) => take(&shared, stream, addr, &refusing),
            Err(error) if is_about_one(&error) => {}
            Err(error) => {
                // No more descriptors, most likely: others have to end first.
                shared.log.error(format_args!("Temporary Client Accept Error ({error}), sleeping 100ms"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The connection was gone before it was taken.
fn is_about_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn take(shared: &Arc<Shared>, stream: TcpStream, addr: SocketAddr, refusing: &Arc<AtomicUsize>) {
    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let _ = stream.set_nodelay(true);
    match shared.open_session(addr) {
        Ok(session) => {
            let opened = Opened::new(session);
            tokio::spawn(begin(opened, stream));
        }
        Err(session) => {
            shared.log.error(format_args!("{session} - maximum connections exceeded"));
            if refusing.fetch_add(1, Ordering::Relaxed) >= REFUSALS {
                refusing.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            let refusing = refusing.clone();
            tokio::spawn(async move {
                let mut text = session.info_line();
                encode::err(&mut text, "maximum connections exceeded");
                let _ = tokio::time::timeout(REFUSAL_TIME, say_and_close(stream, &text)).await;
                refusing.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

/// Says the last words and waits until the peer has gone, so that no reset overtakes them.
async fn say_and_close(mut stream: TcpStream, text: &[u8]) {
    if stream.write_all(text).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut scrap = [0; 1024];
        while let Ok(1..) = tokio::io::AsyncReadExt::read(&mut stream, &mut scrap).await {}
    }
}

/// From a connection to a session.
async fn begin(opened: Opened, stream: TcpStream) {
    let shared = opened.session().shared.clone();
    let config = shared.config();
    let acceptor = shared.tls.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let (Some(tls), Some(acceptor)) = (&config.tls, acceptor) else {
        return serve_plain(opened, stream, true).await;
    };
    let timeout = tls.timeout();
    let first = tls.handshake_first;
    let optional = tls.allow_non_tls;
    drop(config);
    // Boxed: the handshake's needs must not make every session larger.
    let upgraded = Box::pin(upgrade(opened.session(), stream, acceptor, first, optional));
    let mut phase = shared.phase();
    let upgraded = tokio::select! {
        _ = phase.wait_for(|phase| phase.is_over()) => return,
        // One stranger too many: its place is needed now, not when its handshake has run out of time.
        () = opened.session().closed() => return,
        upgraded = tokio::time::timeout(timeout + first_wait(first), upgraded) => upgraded,
    };
    match upgraded {
        Ok(Ok(Upgraded::Tls(stream, say_info))) => {
            note_tls(opened.session(), &stream);
            serve(opened, Input::Tls(stream), say_info).await;
        }
        Ok(Ok(Upgraded::Plain(stream))) => serve_plain(opened, stream, false).await,
        Ok(Err(error)) => {
            shared.log.error(format_args!("{} - TLS handshake error: {error}", opened.session()));
            opened.session().close(Reason::TlsHandshakeError, None);
        }
        Err(_) => {
            shared.log.error(format_args!("{} - TLS handshake timeout", opened.session()));
            opened.session().close(Reason::TlsHandshakeError, None);
        }
    }
}

async fn serve_plain(opened: Opened, stream: TcpStream, say_info: bool) {
    let (read, write) = stream.into_split();
    opened.session().set_writer(write);
    serve(opened, Input::Plain(read), say_info).await;
}

fn first_wait(first: HandshakeFirst) -> Duration {
    match first {
        HandshakeFirst::After(wait) => wait,
        HandshakeFirst::No | HandshakeFirst::Yes => Duration::ZERO,
    }
}

enum Upgraded {
    /// With TLS; true: INFO has still to be said.
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>, bool),
    /// The client wants none, and may.
    Plain(TcpStream),
}

async fn upgrade(
    session: &Session,
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    first: HandshakeFirst,
    optional: bool,
) -> io::Result<Upgraded> {
    let at_once = match first {
        HandshakeFirst::Yes => true,
        HandshakeFirst::After(wait) => {
            matches!(tokio::time::timeout(wait, first_byte(&stream)).await, Ok(Ok(TLS_HANDSHAKE)))
        }
        HandshakeFirst::No => false,
    };
    if !at_once {
        stream.write_all(&session.info_line()).await?;
        if first_byte(&stream).await? != TLS_HANDSHAKE {
            if optional {
                return Ok(Upgraded::Plain(stream));
            }
            let mut text = Vec::new();
            encode::err(&mut text, "Secure Connection - TLS Required");
            let _ = tokio::time::timeout(REFUSAL_TIME, say_and_close(stream, &text)).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client did not start TLS"));
        }
    }
    let stream = acceptor.accept(stream).await?;
    Ok(Upgraded::Tls(Box::new(stream), at_once))
}

async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    match stream.peek(&mut byte).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

fn note_tls(session: &Session, stream: &tokio_rustls::server::TlsStream<TcpStream>) {
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        _ => "1.2",
    };
    let suite = connection.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
    let _ = session.tls.set((version, suite.replace("TLS13_", "TLS_")));
}
