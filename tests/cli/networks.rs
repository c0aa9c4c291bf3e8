//! What the tests of `photog models` work with: a small network, lists that name it, and a host.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use sha2::{Digest as _, Sha256};

/// An ONNX file with a network that gives the mean of each of the three channels of an aligned face.
/// `name` makes files that differ.
pub fn network(name: &str) -> Vec<u8> {
    let graph = [
        node("picture", "means", "GlobalAveragePool"),
        node("means", "numbers", "Flatten"),
        text(2, name),
        port(11, "picture", &[3, 112, 112]),
        port(12, "numbers", &[3]),
    ];
    model(&graph.concat())
}

/// The same with a weight that lies in the file `weight.bin` beside it.
pub fn network_with_a_weight_outside() -> Vec<u8> {
    let entry = |key: &str, value: &str| message(13, &[text(1, key), text(2, value)].concat());
    // One float; the data lie elsewhere.
    let tensor = [
        vec![1 << 3, 1, 2 << 3, 1],
        text(8, "weight"),
        entry("location", "weight.bin"),
        vec![14 << 3, 1],
    ];
    let product = [
        text(1, "given"),
        text(1, "weight"),
        text(2, "picture"),
        text(4, "Mul"),
    ];
    let graph = [
        message(1, &product.concat()),
        node("picture", "means", "GlobalAveragePool"),
        node("means", "numbers", "Flatten"),
        message(5, &tensor.concat()),
        port(11, "given", &[3, 112, 112]),
        port(12, "numbers", &[3]),
    ];
    model(&graph.concat())
}

// Field numbers below are those of onnx.proto.

fn model(graph: &[u8]) -> Vec<u8> {
    // IR version 8, operator set 17.
    let parts = [
        vec![1 << 3, 8],
        message(7, graph),
        message(8, &[2 << 3, 17]),
    ];
    parts.concat()
}

fn node(input: &str, output: &str, operator: &str) -> Vec<u8> {
    let fields = [text(1, input), text(2, output), text(4, operator)];
    message(1, &fields.concat())
}

/// An input or output of the graph: batches of floats of these sizes.
fn port(field: u8, name: &str, sizes: &[u8]) -> Vec<u8> {
    let size = |size: &u8| message(1, &[1 << 3, *size]);
    let batch = message(1, &text(2, "N"));
    let shape = [batch, sizes.iter().flat_map(size).collect()].concat();
    // Element type 1 is float.
    let tensor = [vec![1 << 3, 1], message(2, &shape)].concat();
    let kind = message(2, &message(1, &tensor));
    message(field, &[text(1, name), kind].concat())
}

fn message(field: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    let mut length = body.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(body);
    bytes
}

fn text(field: u8, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// An entry for the network, with more fields.
pub fn entry(name: &str, more: &[(&str, &str)]) -> String {
    let mut text = format!(
        "[[model]]\nname = \"{name}\"\nrole = \"face-embedding\"\nfile = \"{name}.onnx\"\n\
         about = \"means of colours\"\nlicense = \"CC0-1.0\"\nsource = \"https://example.org/{name}\"\n\
         embedding_length = 3\nthresholds = {{ same_person = 0.9 }}\n\
         preprocess = {{ size = [112, 112], mean = [0, 0, 0], scale = [1, 1, 1], order = \"rgb\" }}\n"
    );
    for (field, value) in more {
        writeln!(text, "{field} = \"{value}\"").unwrap();
    }
    text
}

/// A host on this machine, and the heads of the requests to it.
pub struct Host {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// Gives each request, numbered from 0, to `answer`. It ends with the test process.
    pub fn new(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                kept.lock().unwrap().push(head.to_ascii_lowercase());
                answer(number, &mut stream);
            }
        });
        Self { port, asked }
    }

    /// Always sends these bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self::new(move |_, stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&bytes);
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/network.onnx", self.port)
    }

    pub fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
