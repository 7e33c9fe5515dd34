//! One DNS query over TCP, for answers that do not fit a datagram.

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use ntmobile_ports::net::{ByteStream, NetError};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Asks on a connection of its own. `None` where it cannot be made, breaks or brings nothing; how long all that may take is for
/// the caller to say.
pub(super) async fn ask(
    connecting: BoxFuture<'static, Result<Box<dyn ByteStream>, NetError>>,
    query: Bytes,
) -> Option<Bytes> {
    let mut stream = connecting.await.ok()?;
    let answer = exchange(&mut *stream, &query).await.ok();
    // The answer is there, or will never be.
    drop(stream.shutdown().await);
    answer
}

async fn exchange(stream: &mut dyn ByteStream, query: &[u8]) -> io::Result<Bytes> {
    let mut framed = BytesMut::with_capacity(2 + query.len());
    framed.put_u16(u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?);
    framed.put_slice(query);
    stream.write_all(&framed).await?;
    stream.flush().await?;
    let length = usize::from(stream.read_u16().await?);
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer.into())
}
