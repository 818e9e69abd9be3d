package android.net;

import android.app.Service;
import android.content.Context;
import android.content.Intent;
import android.os.ParcelFileDescriptor;
import java.io.IOException;
import java.util.Arrays;
import phone.Phone;

/** A double: the device is a real tun device, set up by the system. */
public class VpnService extends Service {
    public static Intent prepare(Context context) {
        return Phone.mayVpn ? null : new Intent();
    }

    public boolean protect(int socket) {
        return Phone.ask("protect " + socket).equals("ok");
    }

    public boolean setUnderlyingNetworks(Network[] networks) {
        Phone.underlying = Arrays.toString(networks);
        return true;
    }

    public void onRevoke() {
        stopSelf();
    }

    public class Builder {
        private final StringBuilder wanted = new StringBuilder();

        private Builder add(String what) {
            wanted.append(' ').append(what);
            return this;
        }

        public Builder setSession(String name) {
            return this;
        }

        public Builder setMtu(int mtu) {
            return add("mtu=" + mtu);
        }

        public Builder setBlocking(boolean blocking) {
            return this;
        }

        public Builder allowFamily(int family) {
            return add("family=" + family);
        }

        public Builder setMetered(boolean metered) {
            return add("metered=" + metered);
        }

        public Builder addAddress(String address, int length) {
            return add("address=" + address + "/" + length);
        }

        public Builder addRoute(String address, int length) {
            return add("route=" + address + "/" + length);
        }

        public Builder addDnsServer(String address) {
            if (!address.matches("[0-9a-fA-F.:]+")) {
                throw new IllegalArgumentException("Bad address " + address);
            }
            return add("dns=" + address);
        }

        public ParcelFileDescriptor establish() {
            if (!Phone.establishes) {
                return null;
            }
            try {
                int device = Phone.openTun();
                String answer = Phone.ask("establish " + device + wanted);
                if (!answer.equals("ok")) {
                    throw new IllegalStateException(answer);
                }
                return new ParcelFileDescriptor(device);
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
