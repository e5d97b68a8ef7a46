//! A connection on which the head of a request must arrive within a time from its first byte.
//! Wrapped around every connection by `acceptor`.
//!
//! hyper has one timeout for heads and for idle connections. Idle ones must live longer than the
//! API server's pool keeps them (90 s), which is far too long for a client that sends a head byte by
//! byte; so this one watches the heads apart.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

pub(super) struct HeadDeadline<S> {
    stream: S,
    limit: Duration,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
}

enum Phase {
    /// Between requests.
    Idle,
    /// Within a head, of whose end this many bytes have just passed.
    Head { end: usize },
    /// After a head: the body, and the wait for the answer.
    Rest,
}

impl<S> HeadDeadline<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            phase: Phase::Idle,
            timer: Box::pin(tokio::time::sleep(limit)),
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        if matches!(self.phase, Phase::Idle) && !bytes.is_empty() {
            self.timer.as_mut().reset(Instant::now() + self.limit);
            self.phase = Phase::Head { end: 0 };
        }
        for byte in bytes {
            let Phase::Head { end } = &mut self.phase else {
                return;
            };
            *end = match byte {
                byte if *byte == END[*end] => *end + 1,
                b'\r' => 1,
                _ => 0,
            };
            if *end == END.len() {
                self.phase = Phase::Rest;
            }
        }
    }

    fn answered(&mut self, bytes: &[u8]) {
        // After `100 Continue` comes the body, not another head.
        if matches!(self.phase, Phase::Rest) && !bytes.starts_with(CONTINUE) {
            self.phase = Phase::Idle;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadDeadline<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                result?;
                this.received(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                if matches!(this.phase, Phase::Head { .. }) {
                    ready!(this.timer.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadDeadline<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.answered(bytes);
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.answered(slices.first().map_or(&[], |slice| &**slice));
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

const END: &[u8] = b"\r\n\r\n";
const CONTINUE: &[u8] = b"HTTP/1.1 100";

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_head_that_stalls_is_cut_off() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = HeadDeadline::new(server, LIMIT);
        client.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn neither_idle_connections_nor_slow_answers_are_cut_off() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = HeadDeadline::new(server, LIMIT);
        let mut buffer = [0; 64];
        for _ in 0..2 {
            // Idle for longer than a head may take.
            tokio::time::timeout(LIMIT * 2, server.read(&mut buffer))
                .await
                .unwrap_err();
            // The end of the head comes in pieces, with more of its kind before.
            for piece in [&b"GET / HTTP/1.1\r\nA: b\r\r\n"[..], b"\r", b"\nbo"] {
                client.write_all(piece).await.unwrap();
                assert_eq!(server.read(&mut buffer).await.unwrap(), piece.len());
            }
            assert!(matches!(server.phase, Phase::Rest));
            server
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .unwrap();
            // The body takes its time.
            tokio::time::timeout(LIMIT * 2, server.read(&mut buffer))
                .await
                .unwrap_err();
            client.write_all(b"dy").await.unwrap();
            assert_eq!(server.read(&mut buffer).await.unwrap(), 2);
            server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            assert!(matches!(server.phase, Phase::Idle));
        }
    }
}
