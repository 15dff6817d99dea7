//! iceoryx2's publish and subscribe, as its examples do it: a sample of fixed size, loaned, written and sent.

use std::error::Error;
use std::path::Path;

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{LogLevel, NodeBuilder, ipc, set_log_level};

use crate::ipc::medium::{Receiver, Sender};

type Words = [u64];

/// The node and the service live as long as their ports.
fn service(
    path: &Path,
) -> Result<
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, Words, ()>,
    Box<dyn Error>,
> {
    set_log_level(LogLevel::Error);
    let node = NodeBuilder::new().create::<ipc::Service>()?;
    let name = path.display().to_string();
    let builder = node.service_builder(&name.as_str().try_into()?);
    Ok(builder.publish_subscribe::<Words>().open_or_create()?)
}

struct Publishing(Publisher<ipc::Service, Words, ()>);

pub(crate) fn sender(path: &Path, words: usize) -> Result<Box<dyn Sender>, Box<dyn Error>> {
    let publisher = service(path)?.publisher_builder().initial_max_slice_len(words).create()?;
    Ok(Box::new(Publishing(publisher)))
}

impl Sender for Publishing {
    fn send(&mut self, payload: &[u64]) -> Result<(), Box<dyn Error>> {
        self.0.loan_slice_uninit(payload.len())?.write_from_slice(payload).send()?;
        Ok(())
    }
}

struct Subscribed(Subscriber<ipc::Service, Words, ()>);

pub(crate) fn receiver(path: &Path) -> Result<Box<dyn Receiver>, Box<dyn Error>> {
    Ok(Box::new(Subscribed(service(path)?.subscriber_builder().create()?)))
}

impl Receiver for Subscribed {
    fn poll(&mut self) -> Result<Option<u64>, Box<dyn Error>> {
        let sample = self.0.receive()?;
        Ok(sample.map(|sample| {
            sample.payload().iter().fold(0, |sum: u64, &word| sum.wrapping_add(word))
        }))
    }
}
