//! The network commands of a task. Its sockets are numbered from 0 on. The commands:
//!
//! - `connect ADDRESS`, `listen ADDRESS`, `accept N`, `bind ADDRESS` (UDP): create a socket; answers its local address
//! - `begin ADDRESS`: create a socket that connects without blocking; answers its local address
//! - `reconnect N ADDRESS`: end the connection with `AF_UNSPEC`, and connect the same socket; answers its local address
//! - `send N BYTES`, `receive N BYTES`: exactly this many bytes
//! - `send_to N ADDRESS BYTES`, `receive_from N`: a datagram; `receive_from` answers its size
//! - `flood N ADDRESS COUNT`: this many datagrams of 1000 bytes
//! - `close N`
//!
//! A failure is answered with the name of the error.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

/// The sockets of a task. A closed one is `None`, so that the numbers stay valid.
#[derive(Default)]
pub struct Sockets {
    made: Vec<Option<Socket>>,
}

enum Socket {
    Stream(TcpStream),
    Listener(TcpListener),
    Datagrams(UdpSocket),
}

impl Sockets {
    pub fn execute(&mut self, command: &str) -> String {
        match self.try_to_execute(command) {
            Ok(answer) => answer,
            Err(error) => match error.raw_os_error() {
                Some(errno) => format!("{:?}", Errno::from_raw(errno)),
                None => error.to_string(),
            },
        }
    }

    fn try_to_execute(&mut self, command: &str) -> io::Result<String> {
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["connect", address] => self.make(Socket::Stream(TcpStream::connect(address)?)),
            ["begin", address] => self.make(Socket::Stream(connect_without_blocking(address)?)),
            ["reconnect", number, address] => {
                let address: SocketAddr = address.parse().map_err(|_| invalid(address))?;
                let stream = self.stream(number)?;
                disconnect(stream)?;
                connect(stream.as_raw_fd(), &SockaddrStorage::from(address))?;
                Ok(stream.local_addr()?.to_string())
            }
            ["listen", address] => self.make(Socket::Listener(TcpListener::bind(address)?)),
            ["bind", address] => self.make(Socket::Datagrams(UdpSocket::bind(address)?)),
            ["accept", number] => match self.get(number)? {
                Socket::Listener(listener) => {
                    let (stream, _) = listener.accept()?;
                    self.make(Socket::Stream(stream))
                }
                _ => Err(invalid(command)),
            },
            ["send", number, size] => {
                let bytes = vec![0; size.parse().map_err(|_| invalid(size))?];
                self.stream(number)?.write_all(&bytes)?;
                done()
            }
            ["receive", number, size] => {
                let mut bytes = vec![0; size.parse().map_err(|_| invalid(size))?];
                self.stream(number)?.read_exact(&mut bytes)?;
                done()
            }
            ["send_to", number, address, size] => match self.get(number)? {
                Socket::Datagrams(socket) => {
                    let bytes = vec![0; size.parse().map_err(|_| invalid(size))?];
                    socket.send_to(&bytes, address)?;
                    done()
                }
                _ => Err(invalid(command)),
            },
            ["flood", number, address, count] => match self.get(number)? {
                Socket::Datagrams(socket) => {
                    for _ in 0..count.parse().map_err(|_| invalid(count))? {
                        socket.send_to(&[0; 1000], address)?;
                    }
                    done()
                }
                _ => Err(invalid(command)),
            },
            ["receive_from", number] => match self.get(number)? {
                Socket::Datagrams(socket) => Ok(socket.recv_from(&mut [0; 1 << 16])?.0.to_string()),
                _ => Err(invalid(command)),
            },
            ["close", number] => {
                let number: usize = number.parse().map_err(|_| invalid(number))?;
                *self.made.get_mut(number).ok_or_else(|| invalid(command))? = None;
                done()
            }
            _ => Err(invalid(command)),
        }
    }

    fn make(&mut self, socket: Socket) -> io::Result<String> {
        let address = match &socket {
            Socket::Stream(stream) => stream.local_addr(),
            Socket::Listener(listener) => listener.local_addr(),
            Socket::Datagrams(socket) => socket.local_addr(),
        };
        self.made.push(Some(socket));
        Ok(address?.to_string())
    }

    fn get(&mut self, number: &str) -> io::Result<&mut Socket> {
        let made = number.parse().ok().and_then(|number: usize| self.made.get_mut(number)?.as_mut());
        made.ok_or_else(|| invalid(number))
    }

    fn stream(&mut self, number: &str) -> io::Result<&mut TcpStream> {
        match self.get(number)? {
            Socket::Stream(stream) => Ok(stream),
            _ => Err(invalid(number)),
        }
    }
}

/// Without blocking, which the standard library cannot do.
fn disconnect(stream: &TcpStream) -> io::Result<()> {
    // SAFETY: a C structure of integers, for which zeros are valid.
    let mut unspecified: libc::sockaddr = unsafe { std::mem::zeroed() };
    unspecified.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    // SAFETY: the address is valid, and has the given size.
    let result = unsafe { libc::connect(stream.as_raw_fd(), &unspecified, size_of_val(&unspecified) as u32) };
    Ok(Errno::result(result).map(drop)?)
}

fn connect_without_blocking(address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(|_| invalid(address))?;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let made: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK, None)?;
    match connect(made.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(made.into()),
        Err(errno) => Err(errno.into()),
    }
}

fn done() -> io::Result<String> {
    Ok("done".to_owned())
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("invalid command or argument '{text}'"))
}
