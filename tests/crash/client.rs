//! A plain HTTP client that never repeats a request, so that a lost answer stays a lost answer.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use photog::http::wire::protobuf::DataFrame;
use prost::Message as _;

/// No answer of these tests takes this long; a server that hangs fails the test.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const PROTOBUF: &str = "Accept: application/vnd.google.protobuf\r\n";
/// What the consumer of a queue says it is.
const IDENTITY: &str =
    "X-EAS-QueueService-Redis-Gid: readers\r\nX-EAS-QueueService-Redis-Uid: reader\r\n";
/// Addresses the dead letters of a queue.
pub const REAR: &str = "X-EAS-QueueService-Access-Rear: true\r\n";

/// A connection to the program. An error means that the outcome of the request is unknown.
pub struct Client {
    address: SocketAddr,
    link: Option<BufReader<TcpStream>>,
}

/// An answer with its whole body.
pub struct Answer {
    pub status: u16,
    /// Value of `X-Eas-Queueservice-Request-Id`.
    pub request_id: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the lines before a body say.
struct Head {
    status: u16,
    length: Option<usize>,
    request_id: Option<String>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            link: None,
        }
    }

    /// One request and its answer. `headers` are whole lines.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => connect(self.address)?,
        };
        write_request(&mut link, method, target, headers, body)?;
        let head = read_head(&mut link)?;
        let mut answer = vec![0; head.length.unwrap_or(0)];
        link.read_exact(&mut answer)?;
        // After an error the link stays closed.
        self.link = Some(link);
        Ok(Answer {
            status: head.status,
            request_id: head.request_id,
            body: answer,
        })
    }

    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.send("GET", target, "", b"")
    }

    /// Entries of a queue such as `once/sink`, which stay there.
    pub fn look(&mut self, queue: &str, length: u32, headers: &str) -> io::Result<Vec<DataFrame>> {
        use photog::http::wire::protobuf::DataFrameList;
        let target = format!(
            "/api/predict/{queue}?_index_=0&_length_={length}&_timeout_=20ms&_auto_delete_=false\
             &_raw_=false"
        );
        let answer = self.send("GET", &target, &format!("{PROTOBUF}{headers}"), b"")?;
        match answer.status {
            204 => Ok(Vec::new()),
            200 => Ok(DataFrameList::decode(&*answer.body)?.frames),
            status => Err(io::Error::other(format!(
                "GET {queue}: {status} {}",
                answer.text()
            ))),
        }
    }

    /// Removes entries; success only when it was acknowledged.
    pub fn delete(&mut self, queue: &str, indexes: &[u64]) -> io::Result<()> {
        self.tell("DELETE", queue, indexes)
    }

    /// Commits entries; success only when it was acknowledged.
    pub fn commit(&mut self, queue: &str, indexes: &[u64]) -> io::Result<()> {
        self.tell("PUT", queue, indexes)
    }

    fn tell(&mut self, method: &str, queue: &str, indexes: &[u64]) -> io::Result<()> {
        let indexes: Vec<String> = indexes.iter().map(u64::to_string).collect();
        let target = format!("/api/predict/{queue}?_indexes_={}", indexes.join("%2C"));
        let answer = self.send(method, &target, IDENTITY, b"")?;
        if answer.status == 200 {
            return Ok(());
        }
        let text = format!("{method} {queue}: {} {}", answer.status, answer.text());
        Err(io::Error::other(text))
    }
}

/// Entries as they are pushed to a consumer that watches over plain HTTP.
pub struct Watch(BufReader<Chunks>);

impl Watch {
    pub fn open(address: SocketAddr, queue: &str, window: u32) -> io::Result<Self> {
        let mut link = connect(address)?;
        let target = format!("/api/predict/{queue}?_watch_=true&_index_=0&_window_={window}");
        write_request(
            &mut link,
            "GET",
            &target,
            &format!("{PROTOBUF}{IDENTITY}"),
            b"",
        )?;
        let head = read_head(&mut link)?;
        if head.status != 200 {
            return Err(io::Error::other(format!("watch {queue}: {}", head.status)));
        }
        Ok(Self(BufReader::new(Chunks { link, left: 0 })))
    }

    /// The next entry; an error when the link has ended.
    pub fn next(&mut self) -> io::Result<DataFrame> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame)?;
        Ok(DataFrame::decode(&*frame)?)
    }
}

/// The body of an answer in chunks.
struct Chunks {
    link: BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let line = read_line(&mut self.link)?;
            self.left = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let wanted = buffer.len().min(self.left);
        let read = self.link.read(&mut buffer[..wanted])?;
        self.left -= read;
        if read > 0 && self.left == 0 {
            read_line(&mut self.link)?;
        }
        Ok(read)
    }
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let link = TcpStream::connect(address)?;
    link.set_nodelay(true)?;
    link.set_read_timeout(Some(SILENCE_MAX))?;
    link.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(BufReader::new(link))
}

fn write_request(
    link: &mut BufReader<TcpStream>,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<()> {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    link.get_mut().write_all(&request)
}

fn read_head(source: &mut impl BufRead) -> io::Result<Head> {
    let line = read_line(source)?;
    let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
    let mut head = Head {
        status: status.ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?,
        length: None,
        request_id: None,
    };
    loop {
        let line = read_line(source)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(head);
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.trim().parse().ok(),
            "x-eas-queueservice-request-id" => head.request_id = Some(value.trim().to_owned()),
            _ => {}
        }
    }
}

fn read_line(source: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if source.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}
