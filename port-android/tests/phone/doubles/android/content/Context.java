package android.content;

import android.content.pm.ApplicationInfo;
import android.content.pm.PackageManager;
import java.io.File;
import phone.Phone;

/** A double: system services, preferences and files that survive the service, and starting it. */
public class Context {
    public static final int MODE_PRIVATE = 0;
    public static final String CONNECTIVITY_SERVICE = "connectivity";
    public static final String NOTIFICATION_SERVICE = "notification";

    public Object getSystemService(String name) {
        return name.equals(CONNECTIVITY_SERVICE) ? Phone.connectivity : Phone.notifications;
    }

    public SharedPreferences getSharedPreferences(String name, int mode) {
        return Phone.preferences;
    }

    public File getNoBackupFilesDir() {
        return new File(System.getProperty("phone.files"));
    }

    public ComponentName startService(Intent intent) {
        Phone.startService(intent);
        return new ComponentName();
    }

    public ComponentName startForegroundService(Intent intent) {
        return startService(intent);
    }

    public PackageManager getPackageManager() {
        return new PackageManager();
    }

    public String getPackageName() {
        return "phone";
    }

    public ApplicationInfo getApplicationInfo() {
        return new ApplicationInfo();
    }
}
