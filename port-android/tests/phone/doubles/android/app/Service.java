package android.app;

import android.content.Context;
import android.content.Intent;
import phone.Phone;

/** A double: what the service shows, and that it asked to be ended. */
public class Service extends Context {
    public static final int START_STICKY = 1;
    public static final int START_NOT_STICKY = 2;

    public void onCreate() {}

    public void onDestroy() {}

    public int onStartCommand(Intent intent, int flags, int startId) {
        return START_STICKY;
    }

    public final void startForeground(int id, Notification notification) {
        Phone.foreground = notification.text;
    }

    public final void stopForeground(boolean removeNotification) {
        Phone.foreground = null;
    }

    public final void stopSelf() {
        Phone.stopRequested(this);
    }
}
