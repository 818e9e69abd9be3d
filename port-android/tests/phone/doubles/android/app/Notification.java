package android.app;

import android.content.Context;

public class Notification {
    public String text;

    public static class Builder {
        private final Notification notification = new Notification();

        public Builder(Context context) {
            if (android.os.Build.VERSION.SDK_INT >= 26) {
                throw new IllegalStateException("a notification without a channel");
            }
        }

        public Builder(Context context, String channel) {}

        public Builder setSmallIcon(int icon) {
            return this;
        }

        public Builder setContentTitle(CharSequence title) {
            return this;
        }

        public Builder setContentText(CharSequence text) {
            notification.text = text.toString();
            return this;
        }

        public Builder setOngoing(boolean ongoing) {
            return this;
        }

        public Builder setContentIntent(PendingIntent intent) {
            return this;
        }

        public Notification build() {
            return notification;
        }
    }
}
