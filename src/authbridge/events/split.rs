//! Messages in a body, found while its bytes pass: one JSON document, server-sent events, or frames of gRPC.
//! However the bytes are cut, the messages are the same; one that is too large is passed over, and those after it are read.

use super::buffer::{Buffer, Pool};
use super::media_type::Form;
use crate::limits::CALL_BYTES;

/// Splitter of the bytes of one body into messages.
#[derive(Debug)]
pub(super) enum Splitter {
    /// One document, whose end is the end of the body.
    Whole(Whole),
    /// Server-sent events.
    Events(Events),
    /// Messages of gRPC.
    Grpc(Grpc),
}

/// Receiver of messages: `None` for one that is not read, because it is too large or compressed.
pub(super) trait Receive {
    /// Receives the next message; its bytes may be taken out of the buffer.
    fn message(&mut self, message: Option<&mut Buffer>);
}

impl Splitter {
    /// A splitter of a body of this form.
    pub(super) fn new(form: Form, pool: &Pool) -> Self {
        match form {
            Form::Json => Self::Whole(Whole { document: pool.buffer(), too_large: false }),
            Form::Events => Self::Events(Events::new(pool)),
            Form::Grpc => Self::Grpc(Grpc::new(pool)),
        }
    }

    /// Reads the next bytes of the body.
    pub(super) fn data(&mut self, bytes: &[u8], to: &mut impl Receive) {
        match self {
            Self::Whole(whole) => {
                whole.too_large = whole.too_large || whole.document.push(bytes).is_err();
            }
            Self::Events(events) => events.data(bytes, to),
            Self::Grpc(grpc) => grpc.data(bytes, to),
        }
    }

    /// Reads the end of the body; a message that is not whole then is none.
    pub(super) fn end(&mut self, to: &mut impl Receive) {
        if let Self::Whole(whole) = self {
            to.message((!whole.too_large).then_some(&mut whole.document));
        }
    }
}

/// A document so far.
#[derive(Debug)]
pub(super) struct Whole {
    document: Buffer,
    too_large: bool,
}

/// Reader of server-sent events (HTML, section 9.2.6): lines that end in CR, LF or both; an empty one ends the event.
#[derive(Debug)]
pub(super) struct Events {
    /// The line so far, where it began before the bytes at hand.
    line: Buffer,
    /// What the `data` lines of the event hold.
    data: Buffer,
    /// What became of the `data` lines.
    event: EventData,
    /// True if what was read of the line was dropped for its length.
    overlong: bool,
    /// True after a CR, whose LF is no line of its own.
    after_cr: bool,
    /// True until the first line, which may begin with a byte order mark.
    is_first: bool,
}

/// `data` lines of an event so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EventData {
    #[default]
    Absent,
    Held,
    /// A part was dropped for its length.
    TooLarge,
}

impl Events {
    fn new(pool: &Pool) -> Self {
        Self {
            line: pool.buffer(),
            data: pool.buffer(),
            event: EventData::Absent,
            overlong: false,
            after_cr: false,
            is_first: true,
        }
    }

    fn data(&mut self, mut bytes: &[u8], to: &mut impl Receive) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let Some(ending) = rest.first() else {
                self.part(line);
                return;
            };
            self.after_cr = *ending == b'\r';
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.bytes().is_empty() && !self.overlong && line.len() <= CALL_BYTES {
                self.line_ended(line, to);
                continue;
            }
            self.part(line);
            let whole = self.line.take();
            if !std::mem::take(&mut self.overlong) {
                self.line_ended(&whole, to);
            }
        }
    }

    /// Keeps a part of a line that goes on. If it is too long, and `data` for all that is known, the event is not read.
    fn part(&mut self, part: &[u8]) {
        if self.overlong {
            return;
        }
        let may_be_data =
            self.line.bytes().iter().chain(part).zip(b"data:").all(|(found, data)| found == data);
        if self.line.push(part).is_err() {
            self.overlong = true;
            self.is_first = false;
            if may_be_data {
                self.drop_event();
            }
        }
    }

    fn line_ended(&mut self, line: &[u8], to: &mut impl Receive) {
        let line = if std::mem::take(&mut self.is_first) {
            line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            match std::mem::take(&mut self.event) {
                EventData::Absent => {}
                EventData::Held => to.message(Some(&mut self.data)),
                EventData::TooLarge => to.message(None),
            }
            self.data.clear();
            return;
        }
        let value: &[u8] = match line.strip_prefix(b"data") {
            Some([]) => &[],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            _ => return,
        };
        let pushed = match self.event {
            EventData::TooLarge => return,
            EventData::Absent => self.data.push(value),
            EventData::Held => self.data.push(b"\n").and_then(|()| self.data.push(value)),
        };
        self.event = EventData::Held;
        if pushed.is_err() {
            self.drop_event();
        }
    }

    /// Passes over the event at hand.
    fn drop_event(&mut self) {
        self.event = EventData::TooLarge;
        self.data.clear();
    }
}

/// Reader of messages of gRPC: a byte that tells whether the message is compressed, its length in four, and the message.
#[derive(Debug)]
pub(super) struct Grpc {
    head: [u8; 5],
    /// Bytes of the head that are known.
    known: usize,
    /// Bytes of the message that are still to come, once the head is known.
    left: usize,
    message: Buffer,
    /// True if the message is passed over.
    skipped: bool,
}

impl Grpc {
    fn new(pool: &Pool) -> Self {
        Self { head: [0; 5], known: 0, left: 0, message: pool.buffer(), skipped: false }
    }

    fn data(&mut self, mut bytes: &[u8], to: &mut impl Receive) {
        loop {
            if self.known < self.head.len() {
                if bytes.is_empty() {
                    return;
                }
                let space = self.head.get_mut(self.known..).unwrap_or_default();
                let taken = space.len().min(bytes.len());
                for (to, from) in space.iter_mut().zip(bytes) {
                    *to = *from;
                }
                self.known = self.known.saturating_add(taken);
                bytes = bytes.get(taken..).unwrap_or_default();
                if self.known < self.head.len() {
                    return;
                }
                let [flags, a, b, c, d] = self.head;
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.skipped = flags != 0 || self.left > CALL_BYTES;
            }
            let (part, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left = self.left.saturating_sub(part.len());
            self.skipped = self.skipped || self.message.push(part).is_err();
            bytes = rest;
            if self.left > 0 {
                return;
            }
            self.known = 0;
            to.message((!std::mem::take(&mut self.skipped)).then_some(&mut self.message));
            self.message.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What came: texts, or `None` for what was not read.
    #[derive(Default)]
    struct Came(Vec<Option<String>>);

    impl Receive for Came {
        fn message(&mut self, message: Option<&mut Buffer>) {
            self.0.push(message.map(|buffer| String::from_utf8(buffer.take()).unwrap()));
        }
    }

    /// Messages of a body that comes in these parts.
    fn split<'b>(form: Form, parts: impl IntoIterator<Item = &'b [u8]>) -> Vec<Option<String>> {
        let (pool, mut came) = (Pool::default(), Came::default());
        let mut splitter = Splitter::new(form, &pool);
        for part in parts {
            splitter.data(part, &mut came);
        }
        splitter.end(&mut came);
        drop(splitter);
        assert_eq!(pool.held(), 0);
        came.0
    }

    fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
        [&[flags][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
    }

    #[test]
    fn events_are_split_as_browsers_do() {
        let large = "x".repeat(CALL_BYTES + 1);
        let read = |text: &str| split(Form::Events, [text.as_bytes()]);
        let some = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
        for (text, expected) in [
            ("data: a\n\ndata:b\n\n", some(&["a", "b"])),
            ("data: a\r\n\r\ndata: b\r\r", some(&["a", "b"])),
            ("\u{feff}data: a\n\n", some(&["a"])),
            ("data: a\ndata: b\ndata\n\n", some(&["a\nb\n"])),
            ("data:  a\n\n", some(&[" a"])),
            (": comment\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", some(&["a"])),
            ("event: x\n\n\n\n", vec![]),
            ("data\n\n", some(&[""])),
            ("database: a\n\n", vec![]),
            ("data: not ended", vec![]),
            ("data: not ended\n", vec![]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        let after = [None, Some("b".to_owned())];
        assert_eq!(read(&format!("data: {large}\n\ndata: b\n\n")), after);
        assert_eq!(read(&format!("data: a\ndata: {large}\ndata: a\n\ndata: b\n\n")), after);
        assert_eq!(read(&format!(":{large}\nother: {large}\ndata: b\n\n")), some(&["b"]));
        let many = "data: xxxxxxxxxxxxxxx\n".repeat(CALL_BYTES / 16 + 1);
        assert_eq!(read(&format!("{many}\ndata: b\n\n")), after);
    }

    #[test]
    fn frames_are_read_unless_they_are_compressed_or_too_large() {
        let body = [
            frame(0, b"a"),
            frame(0, b""),
            frame(1, b"zip"),
            frame(0, &vec![b'x'; CALL_BYTES + 1]),
            frame(0, &vec![b'y'; CALL_BYTES]),
            b"\0\xff\xff\xff\xffendless".to_vec(),
        ]
        .concat();
        let came = split(Form::Grpc, [body.as_slice()]);
        let full = "y".repeat(CALL_BYTES);
        assert_eq!(came, [Some("a".into()), Some(String::new()), None, None, Some(full)]);
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let (pool, mut came) = (Pool::default(), Came::default());
        let mut splitter = Splitter::new(Form::Events, &pool);
        for start in ["data: ", ":", "data: a\ndata: "] {
            splitter.data(start.as_bytes(), &mut came);
            for _ in 0..100 {
                splitter.data(&[b'x'; 16 * 1024], &mut came);
                assert!(pool.held() <= 2 * CALL_BYTES);
            }
            assert!(pool.held() <= 8, "{start}");
            splitter.data(b"\n\n", &mut came);
        }
        assert_eq!(came.0, [None, None]);
    }

    #[test]
    fn a_document_ends_with_its_body() {
        assert_eq!(split(Form::Json, [&b"{"[..], b"}"]), [Some("{}".to_owned())]);
        assert_eq!(split(Form::Json, []), [Some(String::new())]);
        let large = vec![b'1'; CALL_BYTES];
        assert_eq!(split(Form::Json, [&large[..], b"1", b"2"]), [None]);
    }

    proptest! {
        #[test]
        fn the_messages_are_the_same_however_the_bytes_are_cut(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("data: a".to_owned()), Just("data".to_owned()), Just(": x".to_owned()), Just("\n".to_owned()),
                    Just("\r".to_owned()), Just("\r\n".to_owned()), Just("\n\n".to_owned()), Just("\u{feff}".to_owned()),
                    Just(format!("data: {}", "x".repeat(CALL_BYTES - 6))), Just("y".repeat(CALL_BYTES)),
                    "[a-z: ]{0,8}",
                ],
                0..12,
            ),
            cuts in proptest::collection::vec(1_usize..40_000, 1..20),
        ) {
            let body = pieces.concat().into_bytes();
            let mut parts = Vec::new();
            let (mut rest, mut cuts) = (body.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                // Many cuts are of a byte or two.
                let cut = cuts.next().map_or(1, |cut| if cut % 3 == 0 { *cut } else { cut % 3 });
                let (part, after) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = after;
            }
            for form in [Form::Json, Form::Events, Form::Grpc] {
                let framed = frame(0, &body);
                let whole = if form == Form::Grpc { vec![framed.as_slice()] } else { vec![body.as_slice()] };
                let cut = if form == Form::Grpc { framed.chunks(7).collect() } else { parts.clone() };
                prop_assert_eq!(split(form, whole), split(form, cut));
            }
        }
    }
}
