// Owns the start of the playground's page: the token out of the address first, then the theme, then the page.
import { mount } from 'svelte';
import '../styles/tokens.css';
import '../styles/base.css';
import Playground from './Playground.svelte';
import { access } from '$lib/api/access.svelte';
import { theme } from '$lib/theme.svelte';

access.open();
theme.start();

const target = document.getElementById('playground');
if (target) mount(Playground, { target });
