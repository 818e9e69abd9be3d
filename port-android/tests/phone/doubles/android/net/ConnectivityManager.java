package android.net;

import java.util.LinkedHashMap;
import java.util.Map;
import phone.Phone;

/** A double: whoever asks for a network is told of it, on a thread of its own as on Android. */
public class ConnectivityManager {
    public static class NetworkCallback {
        public void onAvailable(Network network) {}

        public void onLost(Network network) {}

        public void onLinkPropertiesChanged(Network network, LinkProperties properties) {}
    }

    private final Map<NetworkCallback, Integer> callbacks = new LinkedHashMap<>();
    private final Map<Integer, Network> networks = new LinkedHashMap<>();

    public void requestNetwork(NetworkRequest request, NetworkCallback callback) {
        if (Phone.deniesNetworks) {
            throw new SecurityException("phone does not have the permission CHANGE_NETWORK_STATE");
        }
        synchronized (this) {
            callbacks.put(callback, request.transport);
        }
        Phone.onCallbackThread(() -> {
            Network network;
            synchronized (this) {
                network = networks.get(request.transport);
            }
            if (network != null) {
                tell(callback, network);
            }
        });
    }

    public synchronized void unregisterNetworkCallback(NetworkCallback callback) {
        if (callbacks.remove(callback) == null) {
            throw new IllegalArgumentException("the callback is not registered");
        }
    }

    /** How many ask. */
    public synchronized int requests() {
        return callbacks.size();
    }

    private synchronized boolean isRegistered(NetworkCallback callback) {
        return callbacks.containsKey(callback);
    }

    private void tell(NetworkCallback callback, Network network) {
        if (isRegistered(callback)) {
            callback.onAvailable(network);
            if (android.os.Build.VERSION.SDK_INT >= 26) {
                callback.onLinkPropertiesChanged(network, getLinkProperties(network));
            }
        }
    }

    public LinkProperties getLinkProperties(Network network) {
        return new LinkProperties(network.interfaceName);
    }

    /** A network comes. */
    public void come(int transport, String interfaceName) {
        Network network = new Network(interfaceName);
        synchronized (this) {
            networks.put(transport, network);
        }
        each(transport, callback -> tell(callback, network));
    }

    /** A network goes. */
    public void go(int transport) {
        Network network;
        synchronized (this) {
            network = networks.remove(transport);
        }
        each(transport, callback -> callback.onLost(network));
    }

    private void each(int transport, java.util.function.Consumer<NetworkCallback> action) {
        Phone.onCallbackThread(() -> {
            Map<NetworkCallback, Integer> all;
            synchronized (this) {
                all = new LinkedHashMap<>(callbacks);
            }
            all.forEach((callback, wanted) -> {
                if (wanted == transport && isRegistered(callback)) {
                    action.accept(callback);
                }
            });
        });
    }
}
