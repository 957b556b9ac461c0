package io.natsune

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** Runs the body with a client of a broker of its own, and that broker's URL. */
internal fun withBroker(body: suspend CoroutineScope.(Client, String) -> Unit) =
    runBlocking(Dispatchers.Default) {
        withTimeout(60.seconds) {
            Broker.start().use { broker ->
                withNats(broker.url) { body(it, broker.url) }
                broker.stop()
            }
        }
    }

/** Waits for the condition. */
internal suspend fun eventually(condition: () -> Boolean) = withTimeout(20.seconds) { while (!condition()) delay(1.milliseconds) }
