//! The bridge to Java: the native methods of `io.github.mpttunnel.MptTunnel`, and the calls back to its `Host`.
//!
//! All unsafe code of this crate is here: names that the Java machine looks for, and a descriptor that changes its
//! owner. Java holds a tunnel by a number, never by a pointer, so a stale one is an error and nothing worse. Errors
//! become `MptException`; nothing here panics, because with panic=abort that would be the end of the app.
#![allow(unsafe_code, reason = "the one file of this crate that talks to the Java machine")]

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use jni::errors::ErrorPolicy;
use jni::objects::{Global, JClass, JObject, JObjectArray, JString, JValue};
use jni::strings::JNIString;
use jni::sys::{jboolean, jint, jlong};
use jni::{Env, EnvUnowned, JavaVM, jni_sig, jni_str};
use port_linux::socket::Tie;

use crate::networks::Mark;
use crate::tunnel::{App, Tunnel};
use crate::{config, keys};

/// Tunnels by the numbers that Java has. A number is never given twice.
static TUNNELS: Mutex<(jlong, BTreeMap<jlong, Arc<Tunnel>>)> = Mutex::new((0, BTreeMap::new()));

/// What a native method answers: a value, or a sentence for an `MptException`.
type Answer<T> = std::result::Result<T, Sentence>;

/// Why something cannot be done.
struct Sentence(String);

impl From<anyhow::Error> for Sentence {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

impl From<jni::errors::Error> for Sentence {
    fn from(error: jni::errors::Error) -> Self {
        Self(format!("the Java machine refuses: {error}"))
    }
}

/// Throws what went wrong as an `MptException`.
struct ThrowMptException;

impl<T: Default> ErrorPolicy<T, Sentence> for ThrowMptException {
    type Captures<'unowned_env_local: 'native_method, 'native_method> = ();

    fn on_error<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        _captures: &mut (),
        Sentence(message): Sentence,
    ) -> jni::errors::Result<T> {
        throw(env, &message);
        Ok(T::default())
    }

    fn on_panic<'unowned_env_local: 'native_method, 'native_method>(
        env: &mut Env<'unowned_env_local>,
        _captures: &mut (),
        _payload: Box<dyn std::any::Any + Send + 'static>,
    ) -> jni::errors::Result<T> {
        throw(env, "an error in the program: the native library panicked");
        Ok(T::default())
    }
}

fn throw(env: &mut Env<'_>, message: &str) {
    // Its result is an error by design: an exception is pending.
    let _ = env.throw_new(jni_str!("io/github/mpttunnel/MptException"), JNIString::from(message));
}

fn tunnel(number: jlong) -> Result<Arc<Tunnel>> {
    let tunnels = TUNNELS.lock().unwrap_or_else(PoisonError::into_inner);
    tunnels.1.get(&number).cloned().context("the tunnel has been stopped")
}

/// `static native long start(MptConfig config, int device, Host host)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_start<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    config: JObject<'local>,
    device: jint,
    host: JObject<'local>,
) -> jlong {
    let start = |env: &mut Env<'local>| -> Answer<jlong> {
        if device < 0 {
            return Err(Sentence("there is no tunnel device".into()));
        }
        // SAFETY: Java got the descriptor from ParcelFileDescriptor.detachFd(), after which nothing else owns it, and
        // calls this once with it. From here on it is closed whatever happens.
        let device = unsafe { OwnedFd::from_raw_fd(device) };
        if config.is_null() || host.is_null() {
            return Err(Sentence("there is no configuration".into()));
        }
        let toml = field(env, &config, "toml")?;
        let hosts = field(env, &config, "hosts")?;
        let files = field(env, &config, "files")?;
        let config = config::parse(&toml, &addresses(&hosts)?, Path::new(&files))?;
        let app = JavaHost { machine: env.get_java_vm()?, host: env.new_global_ref(host)? };
        let tunnel = Arc::new(Tunnel::start(config, device, Arc::new(app))?);
        let mut tunnels = TUNNELS.lock().unwrap_or_else(PoisonError::into_inner);
        tunnels.0 += 1;
        let number = tunnels.0;
        tunnels.1.insert(number, tunnel);
        Ok(number)
    };
    env.with_env(start).resolve::<ThrowMptException>()
}

/// A field of type String.
fn field(env: &mut Env<'_>, object: &JObject<'_>, name: &str) -> Answer<String> {
    let value = env.get_field(object, JNIString::from(name), jni_sig!("Ljava/lang/String;"))?.l()?;
    let value = env.cast_local::<JString>(value)?;
    Ok(value.try_to_string(env)?)
}

/// Names and addresses, one pair a line with a tab between.
fn addresses(lines: &str) -> Result<Vec<(String, IpAddr)>> {
    let pair = |line: &str| {
        let (name, address) = line.split_once('\t').context("a host without an address")?;
        let address = address.parse().with_context(|| format!("{address} is no IP address"))?;
        Ok((name.to_owned(), address))
    };
    lines.lines().map(pair).collect()
}

/// `static native void stop(long tunnel)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_stop<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    number: jlong,
) {
    let stop = |_: &mut Env<'local>| -> Answer<()> {
        let tunnel = TUNNELS.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number);
        if let Some(tunnel) = tunnel {
            tunnel.stop();
        }
        Ok(())
    };
    env.with_env(stop).resolve::<ThrowMptException>();
}

/// `static native void putNetwork(long tunnel, String name, boolean isNew, int mtu, String[] addresses)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_putNetwork<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    number: jlong,
    name: JString<'local>,
    is_new: jboolean,
    mtu: jint,
    addresses: JObjectArray<'local, JString<'local>>,
) {
    let put = |env: &mut Env<'local>| -> Answer<()> {
        let name = name.try_to_string(env)?;
        let mut parsed = Vec::new();
        for index in 0..addresses.len(env)? {
            let address = addresses.get_element(env, index)?.try_to_string(env)?;
            parsed.push(address.parse().with_context(|| format!("{address} is no IP address"))?);
        }
        Ok(tunnel(number)?.put_network(&name, is_new, u32::try_from(mtu).unwrap_or(0), parsed)?)
    };
    env.with_env(put).resolve::<ThrowMptException>();
}

/// `static native void removeNetwork(long tunnel, String name)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_removeNetwork<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    number: jlong,
    name: JString<'local>,
) {
    let remove = |env: &mut Env<'local>| -> Answer<()> {
        tunnel(number)?.remove_network(&name.try_to_string(env)?);
        Ok(())
    };
    env.with_env(remove).resolve::<ThrowMptException>();
}

/// `static native void markNetwork(long tunnel, String name, int mark)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_markNetwork<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    number: jlong,
    name: JString<'local>,
    mark: jint,
) {
    let set_mark = |env: &mut Env<'local>| -> Answer<()> {
        let name = name.try_to_string(env)?;
        Ok(tunnel(number)?.mark_network(&name, Mark::try_from(mark)?)?)
    };
    env.with_env(set_mark).resolve::<ThrowMptException>();
}

/// `static native String stats(long tunnel)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_stats<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    number: jlong,
) -> JString<'local> {
    let stats = |env: &mut Env<'local>| -> Answer<JString<'local>> {
        let lines = tunnel(number)?.stats()?;
        Ok(env.new_string(lines)?)
    };
    env.with_env(stats).resolve::<ThrowMptException>()
}

/// `static native String facts(String toml, String files)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_facts<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    toml: JString<'local>,
    files: JString<'local>,
) -> JString<'local> {
    let facts = |env: &mut Env<'local>| -> Answer<JString<'local>> {
        let (toml, files) = (toml.try_to_string(env)?, files.try_to_string(env)?);
        let lines = config::facts(&toml, Path::new(&files))?;
        Ok(env.new_string(lines)?)
    };
    env.with_env(facts).resolve::<ThrowMptException>()
}

/// `static native String imported(String toml, String files)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_imported<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    toml: JString<'local>,
    files: JString<'local>,
) -> JString<'local> {
    let imported = |env: &mut Env<'local>| -> Answer<JString<'local>> {
        let (toml, files) = (toml.try_to_string(env)?, files.try_to_string(env)?);
        let kept = config::imported(&toml, Path::new(&files))?;
        Ok(env.new_string(kept)?)
    };
    env.with_env(imported).resolve::<ThrowMptException>()
}

/// `static native String publicKey(String files)`
#[unsafe(no_mangle)]
pub(crate) extern "system" fn Java_io_github_mpttunnel_MptTunnel_publicKey<'local>(
    mut env: EnvUnowned<'local>,
    _class: JClass<'local>,
    files: JString<'local>,
) -> JString<'local> {
    let public_key = |env: &mut Env<'local>| -> Answer<JString<'local>> {
        let files = files.try_to_string(env)?;
        let public = keys::public_key(Path::new(&files))?;
        Ok(env.new_string(public)?)
    };
    env.with_env(public_key).resolve::<ThrowMptException>()
}

/// The Java object `MptTunnel.Host`.
struct JavaHost {
    machine: JavaVM,
    host: Global<JObject<'static>>,
}

impl Tie for JavaHost {
    /// `boolean tie(int socket, String network)`: protects the socket and binds it to the network.
    fn tie(&self, socket: BorrowedFd<'_>, device: Option<&str>) -> io::Result<()> {
        let device = device.unwrap_or_default();
        let tied = self.machine.attach_current_thread(|env| {
            let name = env.new_string(device)?;
            let arguments = [JValue::Int(socket.as_raw_fd()), JValue::Object(&name)];
            env.call_method(&self.host, jni_str!("tie"), jni_sig!("(ILjava/lang/String;)Z"), &arguments)?.z()
        });
        match tied {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(io::Error::other(format!("Android does not let the app use the network {device}")))
            }
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}

impl JavaHost {
    /// A method that takes a text. What Java throws there is Java's own affair.
    fn tell(&self, method: &jni::strings::JNIStr, text: &str) {
        let _ = self.machine.attach_current_thread(|env| {
            let text = env.new_string(text)?;
            let arguments = [JValue::Object(&text)];
            env.call_method(&self.host, method, jni_sig!("(Ljava/lang/String;)V"), &arguments).map(drop)
        });
    }
}

impl App for JavaHost {
    /// `void log(String line)`
    fn log(&self, line: &str) {
        self.tell(jni_str!("log"), line);
    }

    /// `void ended(String why)`
    fn ended(&self, why: &str) {
        self.tell(jni_str!("ended"), why);
    }
}
