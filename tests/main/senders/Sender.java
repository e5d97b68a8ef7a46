import java.io.FileInputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Posts one signed event by each way that it is told, as the event processor does: over
 * HttpURLConnection, with whatever the trust store says. `default` is the runtime's own.
 *
 * Arguments: body, signature, then pairs of a trust store and an address. Prints a line for each
 * pair: the status, or why nothing was sent.
 */
public final class Sender {
    public static void main(String[] words) throws Exception {
        for (int at = 2; at + 1 < words.length; at += 2) {
            System.out.println(post(words[at], words[at + 1], words[0], words[1]));
        }
    }

    private static String post(String trust, String url, String body, String signature)
            throws Exception {
        HttpURLConnection connection =
                (HttpURLConnection) URI.create(url).toURL().openConnection();
        if (connection instanceof HttpsURLConnection && !trust.equals("default")) {
            ((HttpsURLConnection) connection).setSSLSocketFactory(trusting(trust).getSocketFactory());
        }
        connection.setRequestMethod("POST");
        connection.setRequestProperty("Content-Type", "application/json");
        connection.setRequestProperty("X-Webhook-Signature", signature);
        connection.setConnectTimeout(30_000);
        connection.setReadTimeout(30_000);
        connection.setDoOutput(true);
        try {
            connection.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
            return Integer.toString(connection.getResponseCode());
        } catch (java.io.IOException problem) {
            return problem.toString().replace('\n', ' ');
        } finally {
            connection.disconnect();
        }
    }

    private static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        try (FileInputStream stream = new FileInputStream(file)) {
            store.load(stream, "changeit".toCharArray());
        }
        TrustManagerFactory managers =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
