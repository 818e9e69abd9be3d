package android.os;

import java.io.Closeable;
import java.io.FileDescriptor;
import java.io.IOException;
import phone.Phone;

/** A double: {@code fromFd} makes no copy, as Java cannot. */
public class ParcelFileDescriptor implements Closeable {
    private final int number;

    public ParcelFileDescriptor(int number) {
        this.number = number;
    }

    public static ParcelFileDescriptor fromFd(int number) throws IOException {
        return new ParcelFileDescriptor(number);
    }

    public FileDescriptor getFileDescriptor() {
        return Phone.descriptor(number);
    }

    public int detachFd() {
        return number;
    }

    @Override
    public void close() throws IOException {}
}
