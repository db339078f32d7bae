/// A chat with a guarded model on the phone. Nothing leaves it.

import SwiftUI

@main
struct SampleApp: App {
    @StateObject private var chat = Chat()

    init() {
        // ONNX Runtime sends telemetry on some systems unless it is told not to before it is first used.
        setenv("ORT_DISABLE_TELEMETRY", "1", 1)
    }

    var body: some Scene {
        WindowGroup {
            ChatScreen(chat: chat)
                .task { await chat.open() }
        }
    }
}
