package io.github.mpttunnel;

import android.net.ConnectivityManager;
import android.net.LinkAddress;
import android.net.LinkProperties;
import android.net.Network;
import android.net.NetworkCapabilities;
import android.net.NetworkRequest;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The phone's networks, all at once: Wi-Fi, cellular and Ethernet are requested side by side, and each is told of as it
 * comes, changes and goes. Android calls back on a thread of its own; the rest is for one thread, but {@link #get},
 * {@link #names} and {@link #isEmpty} for any.
 */
public final class MptNetworks {
    /** Is told what happens. */
    public interface Listener {
        /** A network has come or changed. {@code isNew}: it is another one than before under this name. */
        void present(String name, Present network, boolean isNew);

        /** A network has gone. */
        void gone(String name);
    }

    /** A network that is there. */
    public static final class Present {
        public final Network network;
        /** In bytes; 0 when unknown. */
        public final int mtu;
        final String[] addresses;

        Present(Network network, int mtu, String[] addresses) {
            this.network = network;
            this.mtu = mtu;
            this.addresses = addresses;
        }
    }

    private final ConnectivityManager manager;
    private final Listener listener;
    private final Map<String, Present> networks = new ConcurrentHashMap<String, Present>();
    private final Map<String, Callback> callbacks = new HashMap<String, Callback>();

    public MptNetworks(ConnectivityManager manager, Listener listener) {
        this.manager = manager;
        this.listener = listener;
    }

    /**
     * Asks for a network, and keeps asking until {@link #release} or {@link #close}: Android keeps, say, cellular
     * switched on beside Wi-Fi.
     */
    public void request(String name) {
        if (callbacks.containsKey(name)) {
            return;
        }
        NetworkRequest request = new NetworkRequest.Builder()
                .addCapability(NetworkCapabilities.NET_CAPABILITY_INTERNET)
                .addTransportType(transport(name))
                .build();
        Callback callback = new Callback(name);
        manager.requestNetwork(request, callback);
        callbacks.put(name, callback);
    }

    /** Asks for a network no more. */
    public void release(String name) {
        Callback callback = callbacks.remove(name);
        if (callback != null) {
            manager.unregisterNetworkCallback(callback);
            callback.lose();
        }
    }

    /** Asks for nothing any more. */
    public void close() {
        for (Callback callback : callbacks.values()) {
            manager.unregisterNetworkCallback(callback);
        }
        callbacks.clear();
        networks.clear();
    }

    /** The network that is there now under this name; null if there is none. */
    public Present get(String name) {
        return networks.get(name);
    }

    /** Whether no network is there. */
    public boolean isEmpty() {
        return networks.isEmpty();
    }

    /** The names of those that are there, in the order of {@link MptConfig#NETWORKS}. */
    public List<String> names() {
        List<String> names = new ArrayList<String>(MptConfig.NETWORKS);
        names.retainAll(networks.keySet());
        return names;
    }

    private static int transport(String name) {
        switch (name) {
            case "wifi":
                return NetworkCapabilities.TRANSPORT_WIFI;
            case "cellular":
                return NetworkCapabilities.TRANSPORT_CELLULAR;
            default:
                return NetworkCapabilities.TRANSPORT_ETHERNET;
        }
    }

    /** One request's. */
    private final class Callback extends ConnectivityManager.NetworkCallback {
        private final String name;

        Callback(String name) {
            this.name = name;
        }

        @Override
        public void onAvailable(Network network) {
            // From Android 8 on, onLinkPropertiesChanged follows at once, also when nothing has changed.
            if (!Newer.TELLS_PROPERTIES) {
                LinkProperties properties = manager.getLinkProperties(network);
                if (properties != null) {
                    onLinkPropertiesChanged(network, properties);
                }
            }
        }

        @Override
        public void onLinkPropertiesChanged(Network network, LinkProperties properties) {
            int mtu = mtu(interfaceNamed(properties.getInterfaceName()));
            Present now = new Present(network, mtu, addresses(properties));
            Present before = networks.put(name, now);
            listener.present(name, now, before == null || !network.equals(before.network));
        }

        @Override
        public void onLost(Network network) {
            // Android may tell of the next network before it tells that this one is lost.
            Present present = networks.get(name);
            if (present != null && network.equals(present.network)) {
                lose();
            }
        }

        void lose() {
            if (networks.remove(name) != null) {
                listener.gone(name);
            }
        }
    }

    private static int mtu(NetworkInterface own) {
        try {
            return own == null ? 0 : own.getMTU();
        } catch (SocketException error) {
            return 0;
        }
    }

    private static String[] addresses(LinkProperties properties) {
        List<String> addresses = new ArrayList<String>();
        for (LinkAddress address : properties.getLinkAddresses()) {
            addresses.add(text(address.getAddress()));
        }
        // Where a mobile network has IPv6 only, IPv4 goes through an interface of its own (RFC 6877).
        NetworkInterface translated = interfaceNamed("v4-" + properties.getInterfaceName());
        if (translated != null) {
            for (InetAddress address : Collections.list(translated.getInetAddresses())) {
                addresses.add(text(address));
            }
        }
        return addresses.toArray(new String[0]);
    }

    /** Without the scope that Java writes behind link-local addresses. */
    private static String text(InetAddress address) {
        String text = address.getHostAddress();
        int scope = text.indexOf('%');
        return scope < 0 ? text : text.substring(0, scope);
    }

    private static NetworkInterface interfaceNamed(String name) {
        try {
            return name == null ? null : NetworkInterface.getByName(name);
        } catch (SocketException error) {
            return null;
        }
    }
}
