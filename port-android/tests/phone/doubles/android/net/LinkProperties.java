package android.net;

import java.net.NetworkInterface;
import java.net.SocketException;
import java.util.List;
import java.util.stream.Collectors;

/** A double: of a real interface. */
public final class LinkProperties {
    private final String interfaceName;

    LinkProperties(String interfaceName) {
        this.interfaceName = interfaceName;
    }

    public String getInterfaceName() {
        return interfaceName;
    }

    public List<LinkAddress> getLinkAddresses() {
        try {
            return NetworkInterface.getByName(interfaceName).inetAddresses().map(LinkAddress::new)
                    .collect(Collectors.toList());
        } catch (SocketException error) {
            throw new AssertionError(error);
        }
    }
}
