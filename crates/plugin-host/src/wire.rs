//! What crosses between the process that asks and the one that runs plugins: lists end to end,
//! each with its length before it and its start at a multiple of eight, so that the runner
//! lends the columns to the engine where they are.
//!
//! Both sides take what they read for hostile: a length beyond the frame, a text that is not
//! UTF-8 or a number that names nothing is a [`BadFrame`].

use bytemuck::Pod;

/// A frame that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame is broken: {0}")]
pub(crate) struct BadFrame(pub(crate) &'static str);

/// Takes lists, to count or to write them.
pub(crate) trait Sink {
    fn bytes(&mut self, bytes: &[u8], items: usize);

    fn list<T: Pod>(&mut self, list: &[T]) {
        self.bytes(bytemuck::cast_slice(list), list.len());
    }

    fn text(&mut self, text: &str) {
        self.list(text.as_bytes());
    }

    fn texts(&mut self, texts: &[impl AsRef<str>]) {
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text.as_ref());
        }
    }

    fn number(&mut self, number: u64) {
        self.list(&[number]);
    }
}

/// Counts what a [`Writer`] would need.
#[derive(Default)]
pub(crate) struct Size(pub(crate) usize);

impl Sink for Size {
    fn bytes(&mut self, bytes: &[u8], _: usize) {
        self.0 += 8 + bytes.len().next_multiple_of(8);
    }
}

/// Writes into a place that is large enough: what does not fit is left out.
pub(crate) struct Writer<'a>(pub(crate) &'a mut [u8]);

impl Sink for Writer<'_> {
    fn bytes(&mut self, bytes: &[u8], items: usize) {
        let place = std::mem::take(&mut self.0);
        let Some((head, rest)) = place.split_at_mut_checked(8) else { return };
        let Some((body, rest)) = rest.split_at_mut_checked(bytes.len().next_multiple_of(8)) else { return };
        head.copy_from_slice(&(items as u64).to_ne_bytes());
        body[..bytes.len()].copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// Something that goes into a frame, the same way each time.
pub(crate) trait Put {
    fn put(&self, sink: &mut impl Sink);

    /// How many bytes it takes: a multiple of eight.
    fn size(&self) -> usize {
        let mut size = Size::default();
        self.put(&mut size);
        size.0
    }

    /// A frame in memory of its own, aligned to eight.
    fn frame(&self) -> Vec<u64> {
        let mut place = vec![0_u64; self.size() / 8];
        self.put(&mut Writer(bytemuck::cast_slice_mut(&mut place)));
        place
    }
}

/// Reads a frame.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn list<T: Pod>(&mut self) -> Result<&'a [T], BadFrame> {
        let (head, rest) = self.0.split_first_chunk::<8>().ok_or(BadFrame("it ends before a length"))?;
        let items = usize::try_from(u64::from_ne_bytes(*head)).ok();
        let bytes = items.and_then(|items| items.checked_mul(size_of::<T>()));
        let padded = bytes.and_then(|bytes| bytes.checked_next_multiple_of(8));
        let (Some(bytes), Some(padded)) = (bytes, padded) else { return Err(BadFrame("a length is absurd")) };
        let (body, rest) = rest.split_at_checked(padded).ok_or(BadFrame("a list goes beyond its end"))?;
        self.0 = rest;
        bytemuck::try_cast_slice(&body[..bytes]).map_err(|_| BadFrame("a list does not start at its place"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, BadFrame> {
        std::str::from_utf8(self.list()?).map_err(|_| BadFrame("a text is not UTF-8"))
    }

    pub(crate) fn string(&mut self) -> Result<String, BadFrame> {
        self.text().map(str::to_owned)
    }

    pub(crate) fn number(&mut self) -> Result<u64, BadFrame> {
        match self.list()? {
            [number] => Ok(*number),
            _ => Err(BadFrame("a number is a list")),
        }
    }

    /// How many items follow that take at least eight bytes each: never more than there is room.
    pub(crate) fn count(&mut self) -> Result<usize, BadFrame> {
        let count = self.number()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.0.len() / 8)
            .ok_or(BadFrame("more items than there is room for"))
    }

    pub(crate) fn strings(&mut self) -> Result<Vec<String>, BadFrame> {
        let count = self.count()?;
        (0..count).map(|_| self.string()).collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), BadFrame> {
        if self.0.is_empty() { Ok(()) } else { Err(BadFrame("it goes on after its end")) }
    }
}
