package breakfix.app

import android.app.Application
import android.os.StrictMode
import android.system.Os

/** The process: no telemetry, and in a debug build a complaint about whatever should not be done. */
class ChatApplication : Application() {
    override fun onCreate() {
        // Before anything can load onnxruntime, which reads it then. There is no network to send anything by either.
        Os.setenv("ORT_DISABLE_TELEMETRY", "1", true)
        if (BuildConfig.DEBUG) {
            StrictMode.setThreadPolicy(StrictMode.ThreadPolicy.Builder().detectAll().penaltyLog().build())
            StrictMode.setVmPolicy(StrictMode.VmPolicy.Builder().detectAll().penaltyLog().build())
        }
        super.onCreate()
    }
}
