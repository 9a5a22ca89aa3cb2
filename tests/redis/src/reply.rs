//! A connection to a Redis, on which commands are sent one at a time and replies are read.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What Redis replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing is there.
    Nil,
    /// A number.
    Number(i64),
    /// A text or any other bytes.
    Bytes(Vec<u8>),
    /// Several replies.
    List(Vec<Reply>),
    /// An error.
    Error(String),
}

impl Reply {
    /// The reply as a text. The texts of a list have spaces in between.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Error(error) => error.clone(),
            Self::Number(number) => number.to_string(),
            Self::List(list) => list.iter().map(Self::text).collect::<Vec<_>>().join(" "),
            Self::Nil => "nil".to_owned(),
        }
    }
}

/// Sends commands on one connection, and returns their replies.
pub(crate) fn converse(address: SocketAddr, commands: &[&[&[u8]]]) -> io::Result<Vec<Reply>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let send = |command: &&[&[u8]]| {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for word in *command {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        stream.write_all(&bytes)?;
        read(&mut replies)
    };
    commands.iter().map(send).collect()
}

fn read(from: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
    let number = || rest.parse::<i64>().map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
    Ok(match kind {
        "+" => Reply::Bytes(rest.as_bytes().to_vec()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Number(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Bytes(bytes)
            }
        },
        "*" => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(count) => Reply::List((0..count).map(|_| read(from)).collect::<Result<_, _>>()?),
        },
        _ => return Err(io::ErrorKind::InvalidData.into()),
    })
}
