package android.app;

import phone.Phone;

public class NotificationManager {
    public void notify(int id, Notification notification) {
        if (Phone.foreground != null) {
            Phone.foreground = notification.text;
        }
    }

    public void createNotificationChannel(NotificationChannel channel) {}
}
