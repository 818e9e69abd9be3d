package io.github.mpttunnel;

import android.content.Context;
import android.content.SharedPreferences;
import java.io.UnsupportedEncodingException;
import java.net.URLDecoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A configuration: the program's TOML with all its keys, and what only a phone has. It does not change; {@code with}
 * makes another one.
 *
 * <p>In the TOML a path's {@code device} is the network it takes: {@code "wifi"}, {@code "cellular"} or
 * {@code "ethernet"}; {@code local} is {@code "0.0.0.0"} or {@code "::"}; {@code remote} may be a name. Key files are in a folder that
 * only this app can read and that is in no backup; {@code private_key_file = "phone.key"} is the key that is made on the phone.
 */
public final class MptConfig {
    /** The networks that a path can take. */
    public static final List<String> NETWORKS =
            Collections.unmodifiableList(Arrays.asList("wifi", "cellular", "ethernet"));

    /** A network is used together with the others. */
    public static final int BOND = 0;
    /** A network is used while no bonded one leads to the server, and is silent until then. */
    public static final int BACKUP = 1;
    /** A network is never used. */
    public static final int NEVER = 2;

    private static final List<String> MARKS = Arrays.asList("bond", "backup", "never");
    private static final String STORE = "io.github.mpttunnel";

    /** The TOML; read by the native library. */
    final String toml;
    /** Looked-up names, one a line: the name, a tab, an address. Read by the native library. */
    final String hosts;
    /** The folder with the keys. Read by the native library. */
    final String files;

    private final int[] marks;
    private final String dns;
    private final boolean startOnBoot;

    private MptConfig(String toml, String hosts, String files, int[] marks, String dns, boolean startOnBoot) {
        this.toml = toml;
        this.hosts = hosts;
        this.files = files;
        this.marks = marks;
        this.dns = dns;
        this.startOnBoot = startOnBoot;
    }

    /**
     * Reads TOML, or the short text that fits a QR code:
     * {@code mpt:?server=vpn.example.org&address=10.0.0.1/24&peer=10.0.0.2&public_key=...}; see docs/android.md. A pre-shared key in it
     * is moved to a file.
     *
     * @throws MptException what is wrong with it
     */
    public static MptConfig parse(Context context, String text) throws MptException {
        String trimmed = text.trim();
        String files = files(context);
        MptConfig given = trimmed.startsWith("mpt:")
                ? fromShortText(trimmed, files)
                : new MptConfig(text, "", files, new int[] {BOND, BOND, BOND}, "", false);
        String toml = MptTunnel.imported(given.toml, files);
        MptConfig config = new MptConfig(toml, "", files, given.marks, given.dns, false);
        config.facts();
        return config;
    }

    /**
     * The phone's public key, which the server's configuration names. The private key is made when this is called first, and never
     * leaves the phone.
     *
     * @throws MptException why it cannot be made or read
     */
    public static String publicKey(Context context) throws MptException {
        return MptTunnel.publicKey(files(context));
    }

    /** Keys belong to one phone: the folder is in no backup. */
    private static String files(Context context) {
        return context.getNoBackupFilesDir().getPath();
    }

    /** The TOML. */
    public String toml() {
        return toml;
    }

    /** {@link #BOND}, {@link #BACKUP} or {@link #NEVER}. */
    public int mark(String network) {
        int index = NETWORKS.indexOf(network);
        return index < 0 ? NEVER : marks[index];
    }

    /** With another mark of a network. */
    public MptConfig withMark(String network, int mark) {
        int[] changed = marks.clone();
        changed[NETWORKS.indexOf(network)] = mark;
        return new MptConfig(toml, hosts, files, changed, dns, startOnBoot);
    }

    /** Addresses of name servers that are used inside the tunnel, with commas between; empty: Android's choice. */
    public String dns() {
        return dns;
    }

    /** With other name servers. */
    public MptConfig withDns(String servers) {
        return new MptConfig(toml, hosts, files, marks, servers.trim(), startOnBoot);
    }

    /** Whether the tunnel starts with the phone. */
    public boolean startOnBoot() {
        return startOnBoot;
    }

    /** With or without starting with the phone. */
    public MptConfig withStartOnBoot(boolean start) {
        return new MptConfig(toml, hosts, files, marks, dns, start);
    }

    /** With the addresses of its names: one pair a line, a tab between. */
    MptConfig withHosts(String resolved) {
        return new MptConfig(toml, resolved, files, marks, dns, startOnBoot);
    }

    /** What Android must know. */
    Facts facts() throws MptException {
        return new Facts(MptTunnel.facts(toml, files));
    }

    /** Keeps it for the service, which Android may start when no app is there. */
    public void save(Context context) {
        SharedPreferences.Editor editor = context.getSharedPreferences(STORE, Context.MODE_PRIVATE).edit();
        editor.putString("toml", toml).putString("dns", dns).putBoolean("boot", startOnBoot);
        for (String network : NETWORKS) {
            editor.putInt(network, mark(network));
        }
        editor.apply();
    }

    /** The one that was saved; null if there is none. */
    public static MptConfig load(Context context) {
        SharedPreferences store = context.getSharedPreferences(STORE, Context.MODE_PRIVATE);
        String toml = store.getString("toml", null);
        if (toml == null) {
            return null;
        }
        int[] marks = new int[NETWORKS.size()];
        for (int index = 0; index < marks.length; index++) {
            marks[index] = store.getInt(NETWORKS.get(index), BOND);
        }
        return new MptConfig(
                toml, "", files(context), marks, store.getString("dns", ""), store.getBoolean("boot", false));
    }

    /** A configuration's facts, by name. */
    static final class Facts {
        private final Map<String, List<String>> values = new LinkedHashMap<String, List<String>>();

        Facts(String lines) {
            for (String line : lines.split("\n")) {
                int tab = line.indexOf('\t');
                if (tab > 0) {
                    String name = line.substring(0, tab);
                    if (!values.containsKey(name)) {
                        values.put(name, new ArrayList<String>());
                    }
                    values.get(name).add(line.substring(tab + 1));
                }
            }
        }

        List<String> all(String name) {
            List<String> found = values.get(name);
            return found == null ? Collections.<String>emptyList() : found;
        }

        int mtu() {
            return Integer.parseInt(all("mtu").get(0));
        }
    }

    private static MptConfig fromShortText(String text, String files) throws MptException {
        Map<String, String> keys = new LinkedHashMap<String, String>();
        String query = text.substring(text.indexOf(':') + 1);
        for (String pair : query.substring(query.indexOf('?') + 1).split("&")) {
            int equals = pair.indexOf('=');
            if (equals < 1) {
                throw new MptException("\"" + pair + "\" is no KEY=VALUE in this mpt: text.");
            }
            keys.put(pair.substring(0, equals), decode(pair.substring(equals + 1)));
        }
        int[] marks = {BOND, BOND, BOND};
        StringBuilder paths = new StringBuilder();
        List<String> servers = list(required(keys, "server"));
        for (int index = 0; index < marks.length; index++) {
            String network = NETWORKS.get(index);
            if (keys.containsKey(network)) {
                marks[index] = MARKS.indexOf(keys.get(network));
                if (marks[index] < 0) {
                    throw new MptException(network + "=" + keys.get(network) + ": allowed are bond, backup, never.");
                }
            }
            for (int server = 0; server < servers.size(); server++) {
                String remote = servers.get(server);
                paths.append("\n[[connection.path]]\nname = \"").append(network).append(server == 0 ? "" : "-" + (server + 1))
                        .append("\"\ndevice = \"").append(network)
                        .append("\"\nlocal = \"").append(remote.indexOf(':') < 0 ? "0.0.0.0" : "::")
                        .append("\"\nremote = \"").append(remote).append("\"\n");
            }
        }
        String security = keys.containsKey("public_key") ? "security.private_key_file = \"phone.key\"" : "security = \"none\"";
        StringBuilder toml = new StringBuilder(security);
        toml.append("\n\n[tunnel]\naddress = ").append(strings(required(keys, "address")));
        if (keys.containsKey("mtu")) {
            toml.append("\nmtu = ").append(keys.get("mtu"));
        }
        toml.append("\n\n[[connection]]\nname = \"server\"\npeer = ").append(strings(required(keys, "peer"))).append('\n');
        for (String number : Arrays.asList("port", "remote_port", "key")) {
            if (keys.containsKey(number)) {
                toml.append(number).append(" = ").append(keys.get(number)).append('\n');
            }
        }
        for (String string : Arrays.asList("policy", "public_key", "preshared_key")) {
            if (keys.containsKey(string)) {
                toml.append(string).append(" = \"").append(keys.get(string)).append("\"\n");
            }
        }
        for (String network : list(keys.containsKey("network") ? keys.get("network") : "")) {
            toml.append("\n[[connection.network]]\nto = \"").append(network).append("\"\n");
        }
        String dns = keys.containsKey("dns") ? keys.get("dns") : "";
        return new MptConfig(toml.append(paths).toString(), "", files, marks, dns, false);
    }

    private static String required(Map<String, String> keys, String key) throws MptException {
        if (!keys.containsKey(key)) {
            throw new MptException("This mpt: text has no " + key + "=.");
        }
        return keys.get(key);
    }

    /** Percent signs decoded; only what can stand in TOML as it is. */
    private static String decode(String value) throws MptException {
        try {
            String decoded = URLDecoder.decode(value.replace("+", "%2B"), "UTF-8");
            if (!decoded.matches("[A-Za-z0-9.:/_,+=-]+")) {
                throw new MptException("\"" + decoded + "\" has characters that no value of an mpt: text has.");
            }
            return decoded;
        } catch (UnsupportedEncodingException | IllegalArgumentException error) {
            throw new MptException("\"" + value + "\" is no value of an mpt: text.");
        }
    }

    private static List<String> list(String commas) {
        List<String> parts = new ArrayList<String>();
        for (String part : commas.split(",")) {
            if (!part.isEmpty()) {
                parts.add(part);
            }
        }
        return parts;
    }

    private static String strings(String commas) {
        StringBuilder array = new StringBuilder("[");
        for (String part : list(commas)) {
            array.append(array.length() > 1 ? ", " : "").append('"').append(part).append('"');
        }
        return array.append(']').toString();
    }
}
