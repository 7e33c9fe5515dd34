//! Questions and orders to the kernel's routing tables, which it answers at once: no runtime is needed.

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use std::io;

/// How often to ask again when the tables changed under the answer.
const ATTEMPTS: u32 = 8;

/// Everything of a kind that the kernel knows: all links, all addresses. What a newer kernel says in a form that is not
/// understood is left out.
pub(crate) fn dump(question: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    for _ in 0..ATTEMPTS {
        let answer = ask(question.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
        if !answer.is_torn {
            return Ok(answer.messages);
        }
    }
    Err(io::Error::new(io::ErrorKind::Interrupted, "the tables change faster than they can be read"))
}

/// One thing that the kernel works out: the route to a destination.
pub(crate) fn get(question: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
    Ok(ask(question, NLM_F_REQUEST)?.messages.pop())
}

/// Has the kernel change something, and returns when it has.
pub(crate) fn change(order: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    ask(order, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
}

/// What the kernel says.
#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    /// The tables changed while it was written.
    is_torn: bool,
}

/// A message, if it is of a form that is understood.
struct Understood(Option<RouteNetlinkMessage>);

impl NetlinkDeserializable for Understood {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(RouteNetlinkMessage::deserialize(header, payload).ok()))
    }
}

fn ask(question: RouteNetlinkMessage, flags: u16) -> io::Result<Answer> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = NetlinkMessage::from(question);
    request.header.flags = flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answer = Answer::default();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<Understood>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = usize::try_from(message.header.length).expect("a length of 32 bits").next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            answer.is_torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(Understood(found)) => answer.messages.extend(found),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Done(_) => return Ok(answer),
                _ => {}
            }
        }
        if flags & NLM_F_DUMP != NLM_F_DUMP {
            return Ok(answer);
        }
    }
}
