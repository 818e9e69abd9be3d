package android.net;

import java.io.FileDescriptor;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import phone.Phone;

/** A double: binding really binds the socket to the interface, by the hand of the system. */
public class Network {
    final String interfaceName;

    Network(String interfaceName) {
        this.interfaceName = interfaceName;
    }

    public void bindSocket(FileDescriptor socket) throws IOException {
        String answer = Phone.ask("bind " + Phone.number(socket) + " " + interfaceName);
        if (!answer.equals("ok")) {
            throw new IOException(answer);
        }
    }

    public InetAddress[] getAllByName(String host) throws UnknownHostException {
        String answer = Phone.ask("resolve " + interfaceName + " " + host);
        if (answer.equals("unknown")) {
            throw new UnknownHostException(host);
        }
        return new InetAddress[] {InetAddress.getByName(answer)};
    }

    @Override
    public String toString() {
        return interfaceName;
    }
}
