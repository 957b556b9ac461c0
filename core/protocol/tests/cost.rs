//! Bytes that come one at a time cost no more than a look at each: anything quadratic would take hours here.
use std::time::{Duration, Instant};

use natsune_protocol::{Limits, ParseError, Parser};

/// Far above what a linear parser needs on a busy machine, far below a quadratic one.
const BOUND: Duration = Duration::from_secs(60);

fn trickle(wire: &[u8], parser: &mut Parser) -> Result<usize, ParseError> {
    for end in 0..=wire.len() {
        if let Some((_, used)) = parser.server_op(&wire[..end])? {
            return Ok(used);
        }
        // A caller that heeds want() would wait; this one does not.
        assert!(parser.want() > end);
    }
    Ok(0)
}

#[test]
fn a_slow_peer_costs_linear_time() {
    let start = Instant::now();
    let mut parser = Parser::new(Limits::client());

    let mut info = b"INFO {\"x\":\"".to_vec();
    info.resize(1024 * 1024 - 16, b'x');
    info.extend_from_slice(b"\"}\r\n");
    assert_eq!(trickle(&info, &mut parser), Ok(info.len()));

    let mut blanks = b"MSG a".to_vec();
    blanks.resize(60_000, b' ');
    blanks.extend_from_slice(b"7 2\r\nhi\r\n");
    assert_eq!(trickle(&blanks, &mut parser), Ok(blanks.len()));

    let mut large = b"MSG a 7 4000000\r\n".to_vec();
    large.resize(large.len() + 4_000_000, b'\n');
    large.extend_from_slice(b"\r\n");
    assert_eq!(trickle(&large, &mut parser), Ok(large.len()));

    let endless = [b"PING".to_vec(), vec![b'x'; 100_000]].concat();
    assert_eq!(trickle(&endless, &mut parser), Err(ParseError::ControlLine));
    assert!(start.elapsed() < BOUND, "took {:?}", start.elapsed());
}
