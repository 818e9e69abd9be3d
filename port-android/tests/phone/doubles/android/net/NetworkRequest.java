package android.net;

public class NetworkRequest {
    int transport;

    public static class Builder {
        private final NetworkRequest request = new NetworkRequest();

        public Builder addCapability(int capability) {
            return this;
        }

        public Builder addTransportType(int transport) {
            request.transport = transport;
            return this;
        }

        public NetworkRequest build() {
            return request;
        }
    }
}
