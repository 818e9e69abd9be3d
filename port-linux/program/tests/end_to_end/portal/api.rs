//! The network's API (RFC 8908): a server with TLS, as hotels have it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64ct::{Base64, Encoding as _};
use mpt_lab::host::Host;
use mpt_lab::topology::Side;
use port_linux::events::{Event, What};
use port_linux::portal::{Access, By};
use port_linux::report::State;
use quinn::rustls::pki_types::PrivateKeyDer;
use quinn::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{CHECK, World, portal};
use crate::bench::{self, Mpt, Settings};
use crate::programs::Tool;

/// What the hotel's DHCP names: a name that its own server knows.
const NAME: &str = "api.hotel.example";
const PORT: u16 = 8443;
const PAGE: &str = "https://login.hotel.example/rooms";

const WANTED: &str = r#"{"captive": true, "user-portal-url": "https://login.hotel.example/rooms"}"#;
const GRANTED: &str = r#"{"captive": false, "seconds-remaining": 3600, "bytes-remaining": 2000000}"#;

/// What the API answers: a status and a body; and what it was asked, with the address of who asked.
#[derive(Default)]
struct Api {
    answer: Mutex<(u16, String)>,
    asked: Mutex<Vec<String>>,
}

impl Api {
    /// Serves on the hotel's host. Its certificate is in the file that is returned.
    fn serve(hotel: &Host) -> anyhow::Result<(Arc<Self>, String)> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key)?);
        let file = "/run/hotel.pem".to_owned();
        fs::write(&file, pem(made.cert.der()))?;
        // It is nobody who reads it.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        let listener = hotel.inside(|| TcpListener::bind((CHECK, PORT)))??;
        let api = Arc::new(Self::default());
        api.say(200, WANTED);
        let served = api.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asks may go meanwhile, or not trust the certificate.
                let _ = served.answer(stream, &config);
            }
        });
        Ok((api, file))
    }

    fn say(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.to_owned());
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, stream: TcpStream, config: &Arc<ServerConfig>) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let from = stream.peer_addr()?.ip();
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone())?, stream);
        let (mut request, mut some) = (Vec::new(), [0; 1024]);
        while !request.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut some)?;
            ensure!(length > 0, "it closed");
            request.extend(&some[..length]);
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{from} {request}"));
        let (status, body) = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let location = format!("Location: https://{NAME}:{PORT}/elsewhere\r\n");
        write!(
            stream,
            "HTTP/1.1 {status} x\r\nContent-Type: application/captive+json\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        stream.conn.send_close_notify();
        Ok(stream.flush()?)
    }
}

/// A certificate in the form in which files have it (RFC 7468).
fn pem(certificate: &[u8]) -> String {
    let text = Base64::encode_string(certificate);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|start| &text[start..text.len().min(start + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// A hotel with an API, which trusts nobody yet, and PC1 to which it is the only link that is silent.
fn start(file: impl FnOnce(&str) -> String) -> anyhow::Result<(World, Arc<Api>, Mpt, Settings)> {
    let world = World::build()?;
    // The API, and the host that is asked for by HTTP: of that nobody answers there.
    world.hotel.run(&format!("ip address add {CHECK}/32 dev lo"))?;
    world.rules("udp dport != 53 drop", "accept")?;
    world.lease(&format!("CAPTIVE_PORTAL=https://{NAME}:{PORT}/api?x=[1-3]{{a,b}}\n"))?;
    let (api, certificate) = Api::serve(&world.hotel)?;
    // What is asked leaves past the tunnel, to which all of this host's packets are held.
    let settings = World::settings(Side::Pc1).tunnel("kill_switch", true).network("0.0.0.0/0");
    let pc1 = Mpt::start_with(&world.net.pc1, &settings, &[("CURL_CA_BUNDLE", file(&certificate))])?;
    Ok((world, api, pc1, settings))
}

#[test]
fn the_networks_api_says_whether_a_login_is_wanted_and_what_is_left() {
    bench::test(&[Tool::Nft, Tool::Curl], || {
        let (world, api, pc1, _) = start(str::to_owned)?;
        let found =
            pc1.until("a portal by the API", |c| portal(c).is_some_and(|portal| portal.by == By::Api))?;
        let (found, path) = (portal(&found).context("a portal")?, &found.paths[1]);
        ensure!(found.url.to_string() == PAGE, "{found:?}");
        ensure!(path.access.as_ref().is_some_and(|access| access.captive), "{path:?}");
        let waits = path.waits_for.as_deref().unwrap_or_default();
        ensure!(waits == format!("a login at the portal of its network, {PAGE}"), "{waits}");
        let is_it = |event: &Event| matches!(&event.what, What::PathPortal { url, by: By::Api } if url.to_string() == PAGE);
        let events = pc1.status()?.events;
        ensure!(events.iter().filter(|event| is_it(event)).count() == 1, "{events:?}");
        // Over that link, as RFC 8908 has it; what is special to curl in an address is as DHCP has said it.
        let asked = api.asked();
        let request = asked[0].strip_prefix("192.168.50.2 GET /api?x=[1-3]%7Ba,b%7D HTTP/1.1\r\n");
        let request = request.with_context(|| format!("{asked:?}"))?;
        ensure!(request.contains(&format!("Host: {NAME}:{PORT}\r\n")), "{request}");
        ensure!(request.contains("Accept: application/captive+json\r\n"), "{request}");
        ensure!(world.requests.load(std::sync::atomic::Ordering::Relaxed) == 0, "HTTP was not needed");

        // None is wanted, though nothing comes back, and HTTP has no answer.
        api.say(200, GRANTED);
        let free = pc1.until_within(Duration::from_secs(60), "none by the API", |c| {
            c.paths[1].access.as_ref().is_some_and(|access| !access.captive)
        })?;
        ensure!(portal(&free).is_none() && free.paths[1].state == State::Down, "{free:?}");
        ensure!(free.paths[1].waits_for.is_none() && free.paths[1].problem.is_some(), "{free:?}");

        // Packets pass, and the API says for how long.
        let _pc2 = Mpt::start(&world.net.pc2, &World::settings(Side::Pc2))?;
        world.log_in()?;
        pc1.until("up", |c| c.paths[1].state == State::Up)?;
        let before = api.asked().len();
        pc1.until("asked once more", |_| api.asked().len() > before)?;
        let up = pc1.until("what is left", |c| c.paths[1].access.is_some())?;
        let access = up.paths[1].access.clone().context("access")?;
        let left = access.seconds_left.context("seconds")?;
        ensure!((3500..=3600).contains(&left), "{access:?}");
        ensure!(
            access
                == Access {
                    captive: false,
                    seconds_left: Some(left),
                    bytes_left: Some(2_000_000),
                    venue: None
                }
        );
        let text = pc1.done("status")?;
        ensure!(text.contains("path2: its network says: no login is wanted, "), "{text}");
        ensure!(text.contains(" left, 2.0 MB left\n"), "{text}");
        thread::sleep(Duration::from_secs(5));
        ensure!(api.asked().len() == before + 1, "it is asked once: {:?}", api.asked());
        Ok(())
    });
}

#[test]
fn an_api_that_is_not_trusted_or_leads_elsewhere_says_nothing_and_http_decides() {
    bench::test(&[Tool::Nft, Tool::Curl], || {
        // It trusts the host's certificates, of which this is none.
        let (world, api, pc1, settings) = start(|_| "/etc/ssl/certs/ca-certificates.crt".to_owned())?;
        let by_dhcp = pc1.until("a portal by DHCP", |c| portal(c).is_some())?;
        ensure!(portal(&by_dhcp).is_some_and(|portal| portal.by == By::Dhcp), "{by_dhcp:?}");
        let told = pc1.said();
        let problem = "which was to say whether it wants a login: curl: SSL certificate problem: ";
        ensure!(told.matches(problem).count() == 1, "{told}");
        ensure!(api.asked().is_empty(), "{:?}", api.asked());
        drop(pc1);

        let trusting = [("CURL_CA_BUNDLE", "/run/hotel.pem".to_owned())];
        for (status, body) in [(302, GRANTED), (200, "{\"captive\": \"no\"}"), (200, &"[".repeat(100_000))] {
            api.say(status, body);
            let before = api.asked().len();
            // Somebody answers by HTTP.
            world.rules("udp dport != 53 drop", "tcp dport 80 redirect to :8080")?;
            let pc1 = Mpt::start_with(&world.net.pc1, &settings, &trusting)?;
            let found = pc1.until("a portal", |c| portal(c).is_some())?;
            ensure!(portal(&found).is_some_and(|portal| portal.by == By::Http), "{found:?}");
            ensure!(found.paths[1].access.is_none(), "{found:?}");
            let asked = api.asked();
            ensure!(asked.len() == before + 1 && !asked.concat().contains("elsewhere"), "{asked:?}");
        }

        // What is paid by volume is not asked for.
        let before = api.asked().len();
        let pc1 = Mpt::start_with(&world.net.pc1, &settings.path(2, "tier", 2), &trusting)?;
        pc1.until("a portal by DHCP", |c| portal(c).is_some_and(|portal| portal.by == By::Dhcp))?;
        ensure!(api.asked().len() == before, "{:?}", api.asked());
        Ok(())
    });
}
